"""A client's queries include at once what it has waited for."""

from __future__ import annotations

from headrace.client.known import Known
from headrace.client.settings import SETTINGS
from headrace_schemas import JobEntry


def _entry(job: str, state: str = "done", ended: float = 0.0) -> JobEntry:
    return JobEntry(job=job, name="g", state=state, n_tasks=1, submitted=1.0, ended=ended)  # type: ignore[arg-type]


def _states(entries: list[JobEntry]) -> dict[str, str]:
    return {entry.job: entry.state for entry in entries}


def test_jobs_that_the_cluster_does_not_mention_yet_are_there_as_they_stand() -> None:
    known, states = Known(), iter(["queued", "running"])
    known.add_job("a", lambda: _entry("a", next(states)))
    assert _states(known.added_to([_entry("b")])) == {"b": "done", "a": "queued"}
    assert _states(known.added_to([])) == {"a": "running"}
    assert _states(known.added_to([_entry("a", "running")])) == {"a": "running"}, "what the cluster says of a job that is open counts"


def test_the_end_of_a_job_is_known_before_the_cluster_says_so() -> None:
    known = Known()
    known.add_job("a", lambda: _entry("a", "running"))
    known.end_job(_entry("a", "failed", 2.0), 0)
    assert _states(known.added_to([_entry("a", "running")])) == {"a": "failed"}
    assert _states(known.added_to([_entry("a", "cancelled", 3.0)])) == {"a": "cancelled"}


def test_of_what_ended_long_ago_only_the_cluster_knows() -> None:
    now = [0.0]
    known = Known(lambda: now[0])
    known.end_job(_entry("a", ended=1.0), 3)
    known.end_job(_entry("failed", "failed", ended=1.0), 0)
    now[0] = SETTINGS.known_seconds / 2
    known.end_job(_entry("b", ended=1.0), 4)
    assert known.outputs() == {"a": 3, "b": 4}
    now[0] = SETTINGS.known_seconds
    assert known.outputs() == {"b": 4}
    assert _states(known.added_to([])) == {"b": "done"}


def test_a_job_that_is_not_heard_of_any_more_is_dropped() -> None:
    known = Known()
    known.add_job("a", lambda: _entry("a", "running"))
    known.forget_job("a")
    assert known.added_to([]) == []
