"""The length of files: a source file has at most 400 lines and half of them have fewer than 120, a test file has at most 500."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("schemas", "libs", "services", "benchmarks", "examples")
MOST_LINES, MOST_TEST_LINES, MEDIAN_LINES = 400, 500, 120

LONGER = {
    "tests/integration/test_link_tcp.py": 577,
    "tests/integration/test_worker_fuzz_links.py": 512,
    "tests/unit/pickling_script.py": 560,
    "tests/unit/test_worker_agent.py": 522,
    "tests/unit/test_worker_fuzz.py": 535,
    "tests/unit/worker_world.py": 596,
}
"""Files that were longer when this rule was made, and the lines that each may have. Lower a number or delete an entry; never add one."""


def lengths(*folders: str) -> dict[str, int]:
    """The number of lines of each Python file below these folders."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text().count("\n") for path in paths}


@pytest.mark.parametrize(("folders", "most"), [(SOURCES, MOST_LINES), (("tests",), MOST_TEST_LINES)], ids=["sources", "tests"])
def test_no_file_is_too_long(folders: tuple[str, ...], most: int) -> None:
    too_long = {path: lines for path, lines in lengths(*folders).items() if lines > LONGER.get(path, most)}
    assert not too_long, f"split these files; the limit is {most} lines"


def test_half_of_the_source_files_are_short() -> None:
    assert median(lengths(*SOURCES).values()) < MEDIAN_LINES


def test_a_file_that_became_short_enough_is_not_listed_any_more() -> None:
    found = lengths(*SOURCES, "tests")
    assert [path for path in LONGER if found[path] <= (MOST_TEST_LINES if path.startswith("tests/") else MOST_LINES)] == []
