"""The README's Python runs as it stands, from its first block to its last."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_blocks_run_one_after_the_other(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    script = tmp_path / "readme.py"
    body = "\n".join(blocks) + "\nimport pickle; pickle.dump(results, open('results.pickle', 'wb'))\n"
    script.write_text(body)
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    anomalies = np.load(tmp_path / "products" / "anomaly-0.npy"), np.load(tmp_path / "results.pickle", allow_pickle=True)["anomaly-0"]
    np.testing.assert_array_equal(*anomalies)
    assert len(list((tmp_path / "products").glob("*/2t-*.npy"))) == 24
