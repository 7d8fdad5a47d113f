"""Fixtures that unit and integration tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# A change is judged by the same examples each time. Everywhere else, each run of a property-based test looks for new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# The tests start some thousand Python processes. Where the environment forbids bytecode beside the sources, as many images do, each of them
# would compile all of Headrace and its dependencies anew, which takes longer than most tests.
if sys.dont_write_bytecode:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(__file__).resolve().parents[1] / "build" / "bytecode"))

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Real data beside the checkout; not part of the project."""


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Finds a file of real data by its path under the shared folder; skips the test where it is missing."""

    def find(name: str) -> Path:
        path = SHARED_DATA / name
        if not path.exists():
            pytest.skip(f"../shared/data/{name} is not beside this checkout")
        return path

    return find
