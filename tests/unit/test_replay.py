"""A log read again: the timeline and the final state."""

from __future__ import annotations

from typing import get_args

import pytest

from headrace.ledger.narration import Narrator, writer
from headrace.ledger.replay import final_state, timeline
from headrace_schemas import Assign, CancelAsked, Events, LogMessage, Needed, Purge, Released, Submitted
from headrace_schemas.examples import EXAMPLES
from headrace_schemas.examples import JOB as JOB_OF_EXAMPLES
from tests.unit.controller_world import JOB, World


def test_the_timeline_has_a_line_for_every_entry() -> None:
    world = World(3, 8, 2)
    world.run()
    world.release()
    lines = timeline(world.log)
    assert [line.seq for line in lines] == [entry.seq for entry in world.log]
    assert lines[0].kind == "submitted"
    assert lines[0].seconds == 0
    kinds = {line.kind for line in lines}
    assert {"host_joined", "plan", "assign", "events", "purge", "ended", "released"} <= kinds
    assert {line.who for line in lines} == {"client", "controller", "scheduler", *world.hosts}
    assert str(lines[0]).split()[:3] == ["1", "0.000", "s"]


def test_the_final_state_is_that_of_the_job() -> None:
    world = World(3, 8, 2)
    world.run()
    status = final_state(world.log).jobs[JOB].status()
    assert status["state"] == "done"
    assert status["available"] == status["outputs"]


def test_the_timeline_has_the_names_of_tasks() -> None:
    world = World(3, 8, 2)
    world.run()
    graph = final_state(world.log).jobs[JOB]
    text = "\n".join(line.text for line in timeline(world.log))
    for task in range(graph.n_tasks):
        assert graph.task_name(task) in text


def test_without_its_graph_a_job_has_ids() -> None:
    purge = Purge(at=1, term=1, job="j", host="a", epoch=1, datasets=list(range(100)))
    assert Narrator().describe(purge) == "a drops datasets 0, 1, 2, 3, 4, 5 and 94 more"
    assert Narrator().describe(Needed(at=1, term=1, job="j", tasks=[4], attempts=[1], reason="why")) == "task 4 again: why"


def test_why_outputs_were_released_is_told() -> None:
    released = Released(at=0, term=1, job=JOB_OF_EXAMPLES, reason="nobody came for them")
    assert Narrator().describe(released) == "all outputs: nobody came for them"


def test_a_line_has_nothing_that_a_terminal_obeys() -> None:
    cancelled = CancelAsked(at=0, term=1, job=JOB_OF_EXAMPLES, reason="red\x1b[31m\nand \x9b2J gone")
    assert Narrator().describe(cancelled) == r"red\x1b[31m\nand \x9b2J gone"


def test_chains_are_told_by_their_tasks() -> None:
    narrator = Narrator()
    narrator.describe(EXAMPLES[Submitted])  # type: ignore[arg-type]
    narrator.describe(EXAMPLES[Assign])  # type: ignore[arg-type]
    told = narrator.describe(Events(job=JOB_OF_EXAMPLES, host="alpha", epoch=1, chains=[2], produced=[4]))
    assert told == "done load-1, mean-0; made mean-0"


@pytest.mark.parametrize("kind", get_args(LogMessage), ids=lambda kind: kind.__name__)
def test_every_message_can_be_described(kind: type[LogMessage]) -> None:
    message = EXAMPLES[kind]
    assert Narrator().describe(message)  # type: ignore[arg-type]
    assert writer(message)  # type: ignore[arg-type]
