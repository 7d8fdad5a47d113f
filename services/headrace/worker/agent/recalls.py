"""Recalls: segments that a runner was sent and has not begun are taken back, for another runner would begin them sooner.

A runner is sent what it is thought to begin within milliseconds. If it then executes something longer than was thought, what it was sent
behind that waits, while other runners may be idle. It cannot be asked to give that back, for its only thread executes the task. So runner
and agent agree on the status page, which both see at any time:

| the agent | the runner, before each segment |
|---|---|
| 1. writes the number of a new recall | a. writes the number of the segment |
| 2. waits for `RECALL_SECONDS` | b. looks at the number of the recall: if it is new, reads frames until one answers that recall |
| 3. reads what the runner began last | c. drops what the frame names, and goes on with the rest |
| 4. sends a frame that names all the segments behind that one which can run elsewhere | |

So each segment is executed once. Either the runner sees the recall at (b), and does what the frame says; or it looked before the recall
was written, and then what it wrote at (a) is seen at 3. Both could only miss each other if a write to memory took as long as the agent
waits to be seen by another processor, which is some hundred nanoseconds.

What the runner finished before the long task may still be with it, for results of short tasks travel together. So it is nudged: a signal
has it send them between two instructions of the task. Inside one long instruction, of a library, it waits for the end of that.

What cannot run elsewhere is a segment whose chain was begun: the values inside the chain are in the runner.
"""

from __future__ import annotations

import math

from headrace.worker.agent.jobs import Chain, Segment
from headrace.worker.agent.slots import RunnerSlot

RECALL_SECONDS = 0.001
"""How long the agent waits before it looks what was begun: a thousand times as long as its writes and the runner's need to be seen."""


def head(runner: RunnerSlot) -> Segment | None:
    """What a runner executes, as far as the agent knows: the first that it was sent, of those whose results do not wait for room."""
    return next((segment for segment in runner.outstanding.values() if segment.id not in runner.deferred), None)


def overdue_at(runner: RunnerSlot, late_seconds: float) -> float:
    """When a runner that is silent until then executes something longer than was thought. Infinity if it has nothing to execute."""
    segment = head(runner)
    return runner.heard + segment.predicted + late_seconds if segment is not None else math.inf


def behind(runner: RunnerSlot, begun: int) -> list[Chain]:
    """The chains of a runner that can run elsewhere, for nothing of them was begun. begun: number of the segment that was begun last."""
    sent = {segment for first, segments in runner.frames for segment in segments[max(0, begun + 1 - first) :]}
    return [segment.chain for segment in runner.outstanding.values() if not segment.place and segment in sent]


def take_back(runner: RunnerSlot, chain: Chain) -> list[Segment]:
    """Take a chain that was not begun from a runner. Returns the segments that the runner was to be sent, or was sent."""
    taken = list(chain.segments[: chain.next])
    ids = {segment.id for segment in taken}
    for number, segments in runner.batches.items():
        runner.batches[number] = [segment for segment in segments if segment.id not in ids]
    runner.kept.discard(chain)
    chain.next, chain.slot = 0, -1
    return taken


def with_several(runners: list[RunnerSlot]) -> list[RunnerSlot]:
    """The runners that have more than one segment to execute, or have executed some and not said so."""
    return [
        runner for runner in runners if len(runner.outstanding) > 1 and runner.alive and len(runner.outstanding) > len(runner.deferred) + 1
    ]
