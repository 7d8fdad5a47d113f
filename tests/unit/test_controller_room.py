"""Room in the log: who is not admitted, who has to end, and what goes."""

from __future__ import annotations

import pytest

from headrace.controller.replay import check
from headrace.controller.room import Remnant, Room
from headrace.controller.settings import RoomSettings
from headrace.ledger import JobLedger
from headrace.usage import Usage, reason
from headrace_schemas import Ended, Events, FunctionSpec, GraphSource, GraphSpec, NoRoom, Purge, Released, Submitted
from tests.unit.test_controller_unschedulable import Log

SETTINGS = RoomSettings()

EXPIRY = 86_400.0


def spec(n_tasks: int = 1) -> GraphSpec:
    return GraphSpec(
        name="g", n_tasks=n_tasks, shape_hash="", content_hash="", function=[0] * n_tasks, n_inputs=[0] * n_tasks, blocks=[b""],
        outputs=list(range(n_tasks)), functions=[FunctionSpec(name="f", module="m", qualname="f")], block_size=n_tasks,
    )  # fmt: skip


def job(name: str, *, n_tasks: int = 1, submitted: float = 0.0, ended: float | None = None, state: str = "failed") -> JobLedger:
    found = JobLedger(Submitted(job=name, name="g", n_tasks=n_tasks, graph=GraphSource(inline=spec(n_tasks))), submitted)
    if ended is not None:
        found.end = Ended(at=1, term=1, job=name, state=state)  # type: ignore[arg-type]
        found.ended_at = ended
    return found


def percent(share: float) -> Usage:
    return Usage(round(share * 10_000), 1_000_000)


def room(share: float = 0.0, *ended: JobLedger) -> Room:
    made = Room(EXPIRY)
    for found in ended:
        made.forgotten(found)
    made.note_usage(percent(share))
    return made


@pytest.mark.parametrize(
    ("share", "is_open", "is_critical"),
    [(0, True, False), (79.9, True, False), (80, False, False), (94.9, False, False), (95, False, True)],
)
def test_thresholds(share: float, is_open: bool, is_critical: bool) -> None:
    assert (room(share).is_open, room(share).is_critical) == (is_open, is_critical)


def test_messages_count_as_bytes_do_and_a_stream_without_limits_is_never_full() -> None:
    assert Usage(1, 100, messages=90, most_messages=100).share == 0.9
    assert Usage(1 << 40, 0, 10**9, 0).share == 0.0


def test_jobs_that_are_over_go_from_70_percent_on_until_60_the_oldest_first() -> None:
    kept = room(69, *(job(f"j{k}", ended=float(k)) for k in range(SETTINGS.removed_at_once + 5)))
    assert kept.take_removable(10_000.0) == []
    kept.note_usage(percent(70))
    assert kept.take_removable(10_000.0) == [f"j{k}" for k in range(SETTINGS.removed_at_once)]
    kept.note_usage(percent(61))
    assert kept.take_removable(10_000.0) == [f"j{k}" for k in range(SETTINGS.removed_at_once, SETTINGS.removed_at_once + 5)]
    kept.forgotten(job("late", ended=1.0))
    kept.note_usage(percent(59))
    assert kept.take_removable(10_000.0) == []
    kept.note_usage(percent(69))
    assert kept.take_removable(10_000.0) == []


def test_of_many_jobs_that_are_over_only_some_are_remembered_and_the_others_looked_up() -> None:
    full = room(75, *(job(f"j{k}", ended=float(k)) for k in range(3 * SETTINGS.remembered)))
    assert not full.is_short
    removed: list[str] = []
    while more := full.take_removable(10_000.0):
        removed += more
    assert removed == [f"j{k}" for k in range(SETTINGS.remembered)]
    assert full.is_short
    full.add_remnants(
        [Remnant(f"j{k}", float(k), False) for k in reversed(range(SETTINGS.remembered, 3 * SETTINGS.remembered))], complete=True
    )
    assert full.take_removable(10_000.0) == [f"j{k}" for k in range(SETTINGS.remembered, SETTINGS.remembered + SETTINGS.removed_at_once)]
    full.add_remnants([Remnant("j1300", 1300.0, False), Remnant("valued", 1.0, True)], complete=True)
    assert full.take_removable(EXPIRY + 2)[0] == "valued"
    while full.take_removable(10_000.0):
        assert not full.is_short
    assert not full.is_short


def test_a_controller_that_has_just_started_looks_up_what_it_does_not_remember() -> None:
    assert room(70).is_short
    assert not room(69).is_short


def test_a_job_that_ended_just_now_stays_for_who_waits_for_it() -> None:
    full = room(99, job("new", ended=100.0))
    assert full.take_removable(100.0 + SETTINGS.settled_seconds) == []
    assert full.take_removable(101.0 + SETTINGS.settled_seconds) == ["new"]
    assert full.take_removable(10_000.0) == []


def test_values_in_the_log_stay_until_they_expire_or_for_ten_minutes_while_no_job_is_admitted() -> None:
    full = room(75, job("values", ended=0.0, state="done"), job("failed", ended=1.0))
    assert full.take_removable(EXPIRY) == ["failed"]
    assert full.take_removable(EXPIRY + 1) == ["values"]
    full = room(80, job("values", ended=0.0, state="done"))
    assert full.take_removable(SETTINGS.values_seconds) == []
    assert full.take_removable(SETTINGS.values_seconds + 1) == ["values"]


def test_of_the_jobs_under_way_the_largest_ends() -> None:
    jobs = [job("small"), job("large", n_tasks=9), job("over", n_tasks=99, ended=1.0), job("later", n_tasks=9, submitted=5.0)]
    assert room(94).to_end(jobs) is None
    assert room(95).to_end(jobs) is jobs[3]
    assert room(95).to_end([jobs[2]]) is None


def test_what_a_job_that_failed_wrote_goes_at_once_when_it_has_to() -> None:
    jobs = [job("under-way"), job("failed", ended=1.0), job("done", ended=1.0, state="done")]
    full = room(95)
    assert full.take_emptied(jobs) == ["failed"]
    assert full.take_emptied(jobs) == []
    assert room(94).take_emptied(jobs) == []


# --- the controller's decision ---------------------------------------------------------------------------------------------


def test_a_job_without_room_fails_and_says_what_to_do() -> None:
    log = Log()
    assert log.admit(spec()) == []
    (ended,) = log.tell(NoRoom(at=0, term=1, job="j", used=3_600_000_000, limit=4_000_000_000))
    assert isinstance(ended, Ended)
    assert (ended.job, ended.state, ended.reason) == ("j", "failed", reason(3_600_000_000, 4_000_000_000, admitted=False))
    assert ended.reason.startswith("the log is full (3,600.0 of 4,000.0 MB): no new job is admitted above 80%.")
    assert "nats stream edit LOG" in ended.reason
    assert check(log.log) == []


def test_a_job_under_way_without_room_fails() -> None:
    log = Log()
    log.join("a")
    log.admit(spec())
    (ended,) = log.tell(log.controller.no_room("j", Usage(96, 100), admitted=True))
    assert isinstance(ended, Ended)
    assert "the job could not continue" in ended.reason
    assert log.tell(log.controller.no_room("j", Usage(96, 100), admitted=True)) == []
    assert check(log.log) == []


def test_a_job_that_is_done_already_or_unknown_stays_as_it_is() -> None:
    log = Log()
    log.join("a")
    assert log.tell(NoRoom(at=0, term=1, job="unknown", used=1, limit=1)) == []
    log.admit(spec())
    log.tell(Events(job="j", host="a", epoch=1, done=[0], produced=[0], sizes=[1], value_ids=[0], values=[b"x"]))
    assert log.controller.ledger.jobs["j"].end is not None
    decided = log.tell(NoRoom(at=0, term=1, job="j", used=1, limit=1), Released(at=0, term=1, job="j"))
    assert [type(decision) for decision in decided] == [Purge]


def test_a_controller_that_takes_over_ends_what_was_written_down() -> None:
    first = Log()
    first.admit(spec())
    second = Log()
    second.controller.term = 2
    decided = second.tell(*(entry.message for entry in first.log), NoRoom(at=0, term=1, job="j", used=1, limit=1))
    assert [decision.state for decision in decided if isinstance(decision, Ended)] == ["failed"]
