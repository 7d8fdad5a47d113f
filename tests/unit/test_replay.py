"""A log read again: the timeline and the final state."""

from __future__ import annotations

from typing import get_args

import pytest

from headrace.ledger.replay import describe, final_state, timeline, writer
from headrace_schemas import LogMessage, Needed, Purge
from headrace_schemas.examples import EXAMPLES
from tests.unit.controller_world import JOB, World


def test_the_timeline_has_a_line_for_every_entry() -> None:
    world = World(3, 8, 2)
    world.run()
    world.release()
    lines = timeline(world.log)
    assert [line.seq for line in lines] == [entry.seq for entry in world.log]
    assert lines[0].kind == "admitted"
    assert lines[0].seconds == 0
    kinds = {line.kind for line in lines}
    assert {"host_joined", "plan", "assign", "events", "purge", "ended", "released"} <= kinds
    assert {line.who for line in lines} == {"controller", "scheduler", *world.hosts}
    assert str(lines[0]).split()[:3] == ["1", "0.000", "s"]


def test_the_final_state_is_that_of_the_job() -> None:
    world = World(3, 8, 2)
    world.run()
    status = final_state(world.log).jobs[JOB].status()
    assert status["state"] == "done"
    assert status["available"] == status["outputs"]


def test_long_lists_are_counted() -> None:
    purge = Purge(at=1, term=1, job="j", host="a", epoch=1, datasets=list(range(100)))
    assert describe(purge) == "a: datasets 0 1 2 3 4 5 6 7 ... (100)"
    assert describe(Needed(at=1, term=1, job="j", tasks=[4], attempts=[1], reason="why")) == "tasks 4 again: why"


@pytest.mark.parametrize("kind", get_args(LogMessage), ids=lambda kind: kind.__name__)
def test_every_message_can_be_described(kind: type[LogMessage]) -> None:
    message = EXAMPLES[kind]
    assert describe(message)  # type: ignore[arg-type]
    assert writer(message)  # type: ignore[arg-type]
