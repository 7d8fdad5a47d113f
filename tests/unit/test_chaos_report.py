"""The table of reliability: what it counts, and where it goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.recovery import Recovery
from tests.chaos.report import BEGIN, END, HEAD, summary, table, written
from tests.chaos.results import Done, Result, add, load


def result(*kinds: str, seed: int = 1, standstill: float = 1.0, right: int = 3, problems: dict[str, int] | None = None) -> Result:
    done = [Done(kind=kind, recovery=Recovery(standstill, standstill + 2)) for kind in kinds]
    return Result(commit="abc", seed=seed, faults=[], done=done, jobs=3, right=right, problems=problems or {})


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_kind_has_its_tries_jobs_problems_and_times() -> None:
    wrong = result("kill-nats", standstill=5.0, right=1, problems={"outputs_once": 1, "lost_or_wrong": 1, "right_end": 2})
    lines = table([result("kill-nats", "kill-nats"), wrong])
    assert lines[:2] == HEAD
    name, _, *numbers = cells(lines[2])
    assert name == "kill-nats"
    assert numbers == ["3", "2", "4 of 6", "2", "2", "1.0 s", "5.0 s", "3.0 s", "7.0 s"]
    assert cells(lines[3])[2:] == numbers
    assert len(lines) == 4


def test_times_of_a_kind_come_from_seeds_in_which_it_was_alone() -> None:
    lines = table([result("kill-nats", standstill=1.0), result("kill-nats", "kill-worker", standstill=9.0)])
    assert [cells(line)[0] for line in lines[2:]] == ["kill-worker", "kill-nats", "all"]
    assert cells(lines[2])[-4:] == ["", "", "", ""]
    assert cells(lines[3])[-4:] == ["1.0 s", "1.0 s", "3.0 s", "3.0 s"]


def test_the_summary_counts_seeds_faults_and_commits() -> None:
    assert summary([result("kill-nats"), result("kill-nats", problems={"right_end": 1})]) == (
        "2 seeds ran, with 2 faults during 6 jobs, on 1 commits; in 1 of them every check passed. 2 of them ran on the newest commit, abc."
    )


def test_a_page_keeps_what_is_around_its_table() -> None:
    page = written(f"before\n{BEGIN}\nold\n{END}\nafter\n", [result("kill-nats")])
    assert page.startswith(f"before\n{BEGIN}\n1 seeds ran")
    assert page.endswith(f"{END}\nafter\n")
    assert "old" not in page
    with pytest.raises(ValueError, match="no table"):
        written("a page", [])


def test_results_are_added_to_a_file_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "results.jsonl"
    for seed in (1, 2):
        add(path, result("kill-nats", seed=seed))
    assert load([path]) == [result("kill-nats", seed=1), result("kill-nats", seed=2)]
