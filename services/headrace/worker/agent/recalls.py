"""Recalls: the agent takes back segments that a runner has not begun, because another runner would begin them sooner.

A runner is sent the segments that it is expected to begin within milliseconds. If a segment takes longer than predicted, those behind it
wait, while other runners may be idle. The runner cannot answer a request for them, because its only thread executes the task. So runner and
agent agree through the status page, which both can read at any time:

| the agent | the runner, before each segment |
|---|---|
| 1. writes the number of a new recall | a. writes the number of the segment |
| 2. waits for `RECALL_SECONDS` | b. reads the number of the recall: if it is new, reads frames until one answers that recall |
| 3. reads the number of the segment that the runner began last | c. drops the segments that the frame names, and goes on with the rest |
| 4. sends a frame that names all segments behind that one that can run elsewhere | |

So each segment is executed once. Either the runner sees the recall in step b and obeys the frame; or it read before the recall was written,
and then the agent sees in step 3 what the runner wrote in step a. They could miss each other only if a write to memory took longer to reach
another processor than the agent waits; it takes some hundred nanoseconds.

The runner may still have the results of segments that it finished before the long task, because results of short tasks travel together. So
the agent nudges it: a signal makes the runner send them between two bytecode instructions of the task. If the task is inside one long call
into a library, the results wait for the end of the call.

A segment whose chain was begun cannot run elsewhere, because the values inside the chain are in the runner.
"""

from __future__ import annotations

import math

from headrace.worker.agent.jobs import Chain, Segment
from headrace.worker.agent.slots import RunnerSlot

RECALL_SECONDS = 0.001
"""Seconds that the agent waits before it reads which segment was begun: a thousand times as long as a write needs to become visible."""


def head(runner: RunnerSlot) -> Segment | None:
    """Return the segment that a runner executes, as far as the agent knows.

    That is the first one that it was sent, of those whose results do not wait for memory.
    """
    return next((segment for segment in runner.outstanding.values() if segment.id not in runner.deferred), None)


def overdue_at(runner: RunnerSlot, late_seconds: float) -> float:
    """Return the time from which a silent runner has executed its segment for longer than predicted; infinity if it has none."""
    segment = head(runner)
    return runner.heard + segment.predicted + late_seconds if segment is not None else math.inf


def behind(runner: RunnerSlot, begun: int) -> list[Chain]:
    """Return the chains of a runner that can run elsewhere, because it has begun none of their segments.

    begun: the number of the segment that it began last.
    """
    sent = {segment for first, segments in runner.frames for segment in segments[max(0, begun + 1 - first) :]}
    return [segment.chain for segment in runner.outstanding.values() if not segment.place and segment in sent]


def take_back(runner: RunnerSlot, chain: Chain) -> list[Segment]:
    """Take a chain that was not begun from a runner. Return its segments that were sent to the runner, or were about to be."""
    taken = list(chain.segments[: chain.next])
    ids = {segment.id for segment in taken}
    for number, segments in runner.batches.items():
        runner.batches[number] = [segment for segment in segments if segment.id not in ids]
    runner.kept.discard(chain)
    chain.next, chain.slot = 0, -1
    return taken


def with_several(runners: list[RunnerSlot]) -> list[RunnerSlot]:
    """Return the runners that have several segments to execute, or may have executed some without having reported it."""
    return [
        runner for runner in runners if len(runner.outstanding) > 1 and runner.alive and len(runner.outstanding) > len(runner.deferred) + 1
    ]
