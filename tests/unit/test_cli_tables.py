"""The tables of the command line describe values and jobs."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.cli.tables import counted, describe, print_cluster, print_jobs, print_outputs, print_status
from headrace.client.job import JobStatus
from headrace.client.standing import ClusterStatus
from headrace_schemas import JobEntry


@pytest.mark.parametrize(
    ("value", "kind", "content"),
    [
        (3, "int", "3"),
        ("x" * 200, "str", "'" + "x" * 27),
        ([1, 2], "list of 2", "[1, 2]"),
        (np.array([[1.0, 2.0], [3.0, 6.0]]), "ndarray float64 2x2", "1 to 6, mean 3"),
        (np.array([]), "ndarray float64 0", "array([], dtype=float64)"),
        (np.float32(2), "float32 float32 scalar", "2 to 2, mean 2"),
    ],
)
def test_values_are_described_in_few_words(value: object, kind: str, content: str) -> None:
    found = describe(value)
    assert found[0] == kind
    assert found[1].startswith(content)
    assert len(found[1]) <= 64


def test_tables_hold_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_outputs({"mean": 2.5}, "uk: 3 tasks in 0.1 s")
    print_jobs([JobEntry(job="abc", name="uk", state="failed", n_tasks=9, n_done=4, error="too hot", submitted=1e9, ended=1e9 + 2)])
    status = JobStatus("abc", "uk", "running", 9, {"pending": 5, "started": 0, "done": 4}, 2, 1, ("host-0",))
    print_status(status)
    printed = capsys.readouterr().out
    for text in ("uk: 3 tasks in 0.1 s", "2.5", "too hot", "2.000 s", "9: 5 pending, 4 done", "1 of 2 made", "host-0"):
        assert text in printed
    assert "\x1b" not in printed


def test_a_title_is_one_line_and_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    title = "a title that is longer than the table below it, [bold] as it is"
    print_outputs({"a[b]": 1}, title)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == title
    assert any(line.split() == ["a[b]", "int", "1"] for line in lines)


def test_a_terminal_obeys_nothing_in_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    print_outputs({"red\x1b[31m": 1}, "title")
    assert r"red\x1b[31m" in capsys.readouterr().out


def test_errors_of_ours_are_shown_without_their_module(capsys: pytest.CaptureFixture[str]) -> None:
    print_jobs([JobEntry(job="a", name="b", state="failed", n_tasks=1, error="headrace.runner.failures.BadOutput: too few")])
    assert "headrace.worker" not in capsys.readouterr().out


def test_things_are_counted() -> None:
    assert [counted(number, "task") for number in (0, 1, 2)] == ["0 tasks", "1 task", "2 tasks"]


def test_what_does_not_work_on_a_host_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_cluster(ClusterStatus(["host-0"], {}, 0, {}, admits=True, trouble={"host-0": ["the disk is full"]}))
    assert ["host-0", "the", "disk", "is", "full"] in [line.split() for line in capsys.readouterr().out.splitlines()]
