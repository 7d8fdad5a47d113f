"""What the tasks do. Workers of all engines import this module."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np


def work(seconds: float, sizes: Sequence[int], *inputs: Any) -> Any:
    """Take so many seconds, most of them asleep, and return an array of each size in bytes: one array, a list of several, or None."""
    end = time.monotonic() + seconds
    outputs = [np.ones(size, dtype=np.uint8) for size in sizes]
    time.sleep(max(0.0, end - time.monotonic()))
    return outputs[0] if len(outputs) == 1 else outputs or None


def warm(number: int) -> int:
    """Make a worker import this module. It is another function than `work`, so that no engine learns how long that takes."""
    time.sleep(0.05)
    return number
