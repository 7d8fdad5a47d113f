"""Every check of chaos passes on an outcome that is right, and fails on one in which one thing was changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.checks import problems
from tests.chaos.client import compare
from tests.chaos.consumers import Consumer, consumers_left
from tests.chaos.outcome import Announced, JobOutcome, Outcome, SinkFile
from tests.chaos.recovery import Recovery, recovery
from tests.chaos.tasks import made


def right() -> Outcome:
    """A job whose outputs were held, and one with a sink."""
    held = JobOutcome(name="held", id="j1", verdict="right", outputs=["a", "b"], state="done")
    held.announced = [Announced(name="a", seq=5), Announced(name="b", seq=6)]
    sunk = JobOutcome(name="sunk", id="j2", verdict="right", outputs=["c"], state="done")
    sunk.announced = [Announced(name="c", seq=9, location="/s/c.npy", bytes=80, checksum="sha256:1")]
    sunk.files = [SinkFile(path="/s/c.npy", bytes=80, checksum="sha256:1")]
    return Outcome(jobs=[held, sunk])


def test_an_outcome_that_is_right_has_no_problems() -> None:
    assert problems(right()) == []


def _set(**values: object) -> Callable[[Outcome], None]:
    """Change fields of the first job."""

    def change(outcome: Outcome) -> None:
        for name, value in values.items():
            setattr(outcome.jobs[0], name, value)

    return change


def _append(field: str, what: str) -> Callable[[Outcome], None]:
    return lambda outcome: getattr(outcome, field).append(what)


DOCTORED: dict[str, tuple[Callable[[Outcome], object], str]] = {
    "wrong value": (_set(verdict="wrong", detail="a: 1 instead of 2"), "held (j1) wrong: a: 1 instead of 2"),
    "hang": (_set(verdict="hangs", detail="no end"), "held (j1) hangs: no end"),
    "no verdict": (_append("missing", "c0-j0"), "c0-j0: no client told of it"),
    "client and log disagree": (_set(state="running"), "held (j1) is running in the log, and its client had all values"),
    "not in the log": (_set(state=""), "held (j1) is not there in the log, and its client had all values"),
    "announced twice": (
        lambda outcome: outcome.jobs[0].announced.append(Announced(name="b", seq=8)),
        "held (j1): output b was announced 2 times",
    ),
    "never announced": (lambda outcome: outcome.jobs[0].announced.pop(), "held (j1): output b was announced 0 times"),
    "announced and no output": (
        lambda outcome: outcome.jobs[0].announced.append(Announced(name="x", seq=8)),
        "held (j1): x was announced, and is no output",
    ),
    "file missing": (lambda outcome: outcome.jobs[1].files.clear(), "sunk (j2): the file of c is not there: '/s/c.npy'"),  # type: ignore[union-attr]
    "file changed": (
        lambda outcome: setattr(outcome.jobs[1], "files", [SinkFile(path="/s/c.npy", bytes=80, checksum="sha256:2")]),
        "sunk (j2): /s/c.npy is not what was announced",
    ),
    "file cut": (
        lambda outcome: setattr(outcome.jobs[1], "files", [SinkFile(path="/s/c.npy", bytes=79, checksum="sha256:1")]),
        "sunk (j2): /s/c.npy is not what was announced",
    ),
    "temporary file left": (
        lambda outcome: outcome.jobs[1].files.append(SinkFile(path="/s/.c.part", bytes=1, checksum="")),  # type: ignore[union-attr]
        "sunk (j2): nobody announced /s/.c.part",
    ),
    "replay differs": (
        _set(differences=["entry 3 is odd", "more"]),
        "held (j1): replay --check finds 2 differences, first: entry 3 is odd",
    ),
    "process left": (_append("left", "process 12"), "left behind: process 12"),
    "consumer left": (_append("consumers", "LOG has 3 consumers more"), "LOG has 3 consumers more"),
    "service ended": (_append("unplanned", "host-1 with status 1"), "ended by itself: host-1 with status 1"),
    "service ended badly": (_append("badly_ended", "host-1 with status 1"), "did not end in order: host-1 with status 1"),
}


@pytest.mark.parametrize("what", DOCTORED)
def test_one_thing_that_is_wrong_is_said(what: str) -> None:
    doctor, said = DOCTORED[what]
    outcome = right()
    doctor(outcome)
    assert problems(outcome) == [said]


@pytest.mark.parametrize(
    ("values", "verdict", "detail"),
    [
        ({"a": 5, "b": made(7, 80)}, "right", ""),
        ({"a": 6, "b": made(7, 80)}, "wrong", "a: 6 instead of 5"),
        ({"a": 5, "b": made(8, 80)}, "wrong", "b: 8 instead of 7"),
        ({"a": 5, "b": made(7, 88)}, "wrong", "b: 88 where an array of 80 bytes was made"),
        ({"a": 5}, "wrong", "missing: ['b'], too many: []"),
        ({"a": 5, "b": made(7, 80), "c": 1}, "wrong", "missing: [], too many: ['c']"),
    ],
)
def test_values_are_compared_with_their_answers(values: dict[str, object], verdict: str, detail: str) -> None:
    assert compare(values, {"a": (5, 0), "b": (7, 80)}) == (verdict, detail)


REST = [Consumer("LOG", True, 5.0), Consumer("LOG", False, 5.0), Consumer("REQUESTS", True, 0.0, "controller")]


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (REST, []),
        ([*REST, Consumer("LOG", False, 5.0)], []),
        (REST[1:], []),
        ([*REST, Consumer("LOG", True, 5.0)], ["LOG has 2 consumers that somebody follows, 1 more than before"]),
        ([*REST, Consumer("KV_jobs", True, 5.0)], ["KV_jobs has 1 consumers that somebody follows, 1 more than before"]),
        ([*REST, Consumer("LOG", False, 0.0)], ["LOG has a consumer that never expires: unnamed"]),
        ([*REST, Consumer("LOG", False, 0.0, "mine")], ["LOG has a consumer that never expires: mine"]),
    ],
)
def test_consumers_that_are_left_are_said(after: list[Consumer], said: list[str]) -> None:
    assert list(consumers_left(REST, after)) == said


def test_recovery_is_the_longest_standstill_after_the_fault_and_the_time_to_the_end() -> None:
    assert recovery(10.0, [9.0, 10.5, 15.5, 15.75], 16.0) == Recovery(5.0, 6.0)
    assert recovery(10.0, [2.0, 9.0], 16.0) == Recovery(6.0, 6.0)
    assert recovery(10.0, [], 9.0) == Recovery(0.0, 0.0)
