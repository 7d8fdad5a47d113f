"""`headrace tail` of a job ends when its outputs are announced; the logs are made here."""

from __future__ import annotations

import asyncio
from typing import Any

from headrace.bus import Entry
from headrace.cli.tailing import Tail
from headrace_schemas import Ended, Events, GraphSource, HostJoined, HostLost, Output, Published, Released, Submitted
from tests.unit.test_ledger_fold import flat

JOINED = HostJoined(at=0, term=1, host="a", epoch=1, address="", runners=1, capacity=1)
SUBMITTED = Submitted(job="j", name="g", n_tasks=2, graph=GraphSource(inline=flat(2)))
DONE = Ended(at=0, term=1, job="j", state="done")


def made(*outputs: int) -> Events:
    return Events(job="j", host="a", epoch=1, done=list(outputs), produced=list(outputs), sizes=[1] * len(outputs))


def published(*outputs: int) -> Published:
    return Published(at=0, term=1, job="j", outputs=[Output(dataset=output, name=f"f-{output}") for output in outputs])


def over_after(*messages: Any) -> list[bool]:
    """Whether it was over, after each message of a job's log."""

    async def tail() -> list[bool]:
        lines: list[Any] = []
        followed = Tail("j", lines.append)
        found = []
        for seq, message in enumerate((JOINED, SUBMITTED, *messages), 1):
            followed.print_entries([Entry(seq, float(seq), "", message)])
            found.append(followed.over.done())
        assert len(lines) == len(found)
        assert not any(found[:2])
        return found[2:]

    return asyncio.run(tail())


def test_a_job_is_told_of_until_its_outputs_are_announced() -> None:
    assert over_after(made(0, 1), DONE, published(0), published(1)) == [False, False, False, True]
    assert over_after(made(0), published(0), made(1), published(1), DONE) == [False] * 4 + [True]


def test_a_job_that_failed_announces_nothing_more() -> None:
    assert over_after(made(0), Ended(at=0, term=1, job="j", state="failed")) == [False, True]


def test_what_was_released_before_it_was_made_is_not_waited_for() -> None:
    everything, one = Released(at=0, term=1, job="j"), Released(at=0, term=1, job="j", datasets=[1])
    assert over_after(everything, DONE, made(0, 1)) == [False, True, True]
    assert over_after(one, made(0), DONE, published(0)) == [False, False, False, True]
    assert over_after(made(0), everything, DONE, published(0)) == [False, False, False, True]


def test_what_is_lost_after_its_end_is_announced_all_the_same() -> None:
    lost = HostLost(at=0, term=1, host="a", epoch=1, reason="a test")
    assert over_after(made(0, 1), DONE, lost, published(0, 1)) == [False, False, False, True]
