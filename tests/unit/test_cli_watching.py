"""`headrace watch` shows the jobs of simulated clusters."""

from __future__ import annotations

import io

from rich.console import Console

from headrace.cli.watching import RATE_SECONDS, Watched, view
from headrace_schemas import Ended, TaskError
from tests.unit.controller_world import JOB, World


def shown(watched: Watched, now: float) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(view(watched, now))
    return console.export_text()


def test_a_job_that_is_done() -> None:
    world = World(3, 8, 2)
    world.run()
    watched = Watched(JOB)
    watched.take(world.log)
    text = shown(watched, 0.0)
    assert watched.over.is_set()
    assert f"{JOB}  " in text
    assert "done" in text
    assert "8 of 8 tasks, 0 running" in text
    assert all(host in text for host in world.hosts)


def test_what_others_wrote_is_shown_and_not_obeyed() -> None:
    world = World(3, 8, 2)
    world.run()
    world.spec.name = "job\x1b[2J"
    world.spec.functions[0].name = "function\x1b[2J"
    for entry in world.log:
        if isinstance(entry.message, Ended):
            entry.message.reason = "reason\x1b[2J"
    watched = Watched(JOB)
    watched.take(world.log)
    assert watched.job is not None
    watched.job.profile[0] = (1, 1.0, 1.0)
    watched.job.failures[0] = {0: TaskError(task=0, attempt=0, name="task\x1b[2J", error="error\x1b[2J\nin two lines")}
    text = shown(watched, 0.0)
    assert "\x1b" not in text
    assert [what for what in ("job", "function", "task", "error", "reason") if rf"{what}\x1b[2J" not in text] == []


def test_before_its_submission_there_is_no_job() -> None:
    assert Watched(JOB).job is None


def test_the_rate_is_that_of_the_last_seconds() -> None:
    world = World(3, 8, 2)
    world.run()
    watched = Watched(JOB)
    last = next(index for index, entry in enumerate(world.log) if entry.message.__struct_config__.tag == "ended")
    first = next(index for index, entry in enumerate(world.log) if entry.message.__struct_config__.tag == "submitted")
    watched.take(world.log[: first + 1])
    assert watched.rate(100.0) == 0.0
    watched.take(world.log[first + 1 : last])
    assert watched.rate(102.0) == 4.0, "8 tasks in 2 seconds"
    assert watched.rate(102.0 + 2 * RATE_SECONDS) == 0.0
