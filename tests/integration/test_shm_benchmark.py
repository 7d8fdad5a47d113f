"""The benchmark of shared memory runs, checks what it moved, and writes its figures."""

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_small_sizes_run_and_are_recorded(tmp_path):
    file = tmp_path / "shm.json"
    command = [sys.executable, "-m", "benchmarks.shm", "--peers", "copy", "headrace_shm", "shared_memory", "--sizes", "1KB", "1MB"]
    ended = subprocess.run(
        [*command, "--repeat", "3", "--no-messages", "--json", str(file)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "| 1 MB | copy |" in ended.stdout
    values = json.loads(file.read_text())["values"]
    assert [(value["peer"], value["nbytes"]) for value in values] == [
        (peer, nbytes) for peer in ("copy", "headrace_shm", "shared_memory") for nbytes in (1 << 10, 1 << 20)
    ]
    assert all(value["put"] > 0 and value["get"] > 0 for value in values)
