"""How tests wait, and have their tasks wait: for what has to come to pass, with a deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], seconds: float = 60.0, *, every: float = 0.01, told: Callable[[], object] | None = None) -> T:
    """The condition's value, once it is true; fails after some seconds, with what is `told` then."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"it did not come to pass in {seconds:g} s: {told() if told else value!r}"
        time.sleep(every)
    return value


def wait_for(path: str) -> str:
    """A task that ends once there is a file."""
    while not os.path.exists(path):
        time.sleep(0.01)
    return path
