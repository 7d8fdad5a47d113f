"""Fixtures that unit and integration tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# A change is judged by the same examples each time. Everywhere else, each run of a property-based test looks for new ones.
# There is no deadline: on a busy machine any example may take long.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("elsewhere", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "elsewhere")

# The tests start some thousand Python processes. Where the environment forbids bytecode beside the sources, as many images do, each of them
# would compile all of Headrace and its dependencies anew, which takes longer than most tests.
if sys.dont_write_bytecode:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(__file__).resolve().parents[1] / "build" / "bytecode"))

LONGEST = (
    "integration/test_pauses.py",
    "integration/test_cli.py",
    "integration/test_cleanup.py",
    "integration/test_network_only_copy.py",
    "integration/test_rejoin.py",
    "integration/test_benchmark_command.py",
    "integration/test_network_cut.py",
    "integration/test_bus_dead_connection.py",
    "integration/test_nats_cluster.py",
    "integration/test_bus_lease.py",
    "integration/test_fuzz_messages.py",
    "unit/test_worker_agent.py",
    "unit/test_fuzz_log.py",
    "unit/test_graph_properties.py",
    "unit/test_controller_world.py",
)
"""The test files that take longest."""

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, and end with the other unit tests, which are short: then no worker has much left when the
    others are done."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}

    def place(item: pytest.Item) -> int:
        return places.get(item.path, len(places) + (item.path.parent.name == "unit"))

    items.sort(key=place)
