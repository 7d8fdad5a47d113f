"""`python -m benchmarks` runs every cheap graph on a real cluster, and its values are those of serial Python (or it would fail)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GRAPHS = ["flat", "tree", "chain", "chains", "layers", "latency"]


def test_headrace_agrees_with_serial_python_on_every_cheap_graph(tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    command = [sys.executable, "-m", "benchmarks", "--graph", *GRAPHS, "--n", "12", "--repeat", "1", "--json", str(path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert ran.returncode == 0, ran.stderr
    timings = json.loads(path.read_text())["timings"]
    assert [(timing["graph"], timing["peer"]) for timing in timings] == [(name, peer) for name in GRAPHS for peer in ("serial", "headrace")]
