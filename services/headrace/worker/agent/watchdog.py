"""The waits of a host's segments, and those of them that should have ended at once.

Most waits may last for hours: for a dataset that another task makes, for a runner that executes a long task, for memory that such a task
holds. A few may not: for a runner while one is idle, for a dataset that is here or that no host was asked for, for a runner that executes
nothing. If such a wait lasts, this host has made a mistake, or another service has a wrong picture of it. The watchdog logs it, so that an
operator can act. It corrects one kind itself: if a dataset should be here but is not, and no task makes it, the watchdog reports it as
gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from headrace.graph.naming import task_name
from headrace.worker.agent.failover import CONNECTING, DOWN
from headrace.worker.agent.jobs import Entry, HostJob, Segment
from headrace.worker.agent.serving import LINK

if TYPE_CHECKING:
    from headrace.worker.agent.state import Agent

SHOWN = 5
"""The number of overdue waits that are described in words."""


class Wait(NamedTuple):
    """What a segment waits for, in words.

    overdue: whether it should come at once. lost: the dataset, if no host is known to have or make it.
    """

    text: str
    overdue: bool = False
    lost: int = -1


class Overdue(NamedTuple):
    """A wait that lasts. seconds: since it was first seen. lost: as in `Wait`."""

    job: str
    task: str
    text: str
    seconds: float
    lost: int = -1

    def __str__(self) -> str:
        """Return the wait in words."""
        return f"task {self.task!r} of job {self.job} has waited {self.seconds:.0f} s for {self.text}"


class Watchdog:
    """Finds waits that have lasted for `patience` seconds although they should not. overdue: those of the last look."""

    def __init__(self, patience: float) -> None:
        self.overdue: list[Overdue] = []
        self._patience = patience
        self._since: dict[tuple[int, str], float] = {}
        self._told: set[tuple[int, str]] = set()
        self._next = 0.0

    def is_due(self, now: float) -> bool:
        """Return whether it is time for the next look. There are three looks within the patience."""
        return now >= self._next

    def look(self, now: float, waits: Iterable[tuple[HostJob, Segment, Wait]]) -> list[Overdue]:
        """Take in what segments wait for. Return the waits that have become overdue since the last look."""
        self._next = now + self._patience / 3
        before, self._since = self._since, {}
        told, self._told = self._told, set()
        self.overdue, news = [], []
        for job, segment, wait in waits:
            if wait.overdue:
                key = segment.id, wait.text
                self._since[key] = since = before.get(key, now)
                if now - since >= self._patience:
                    self._told.add(key)
                    self.overdue.append(Overdue(job.name, task_name(job.spec, segment.tasks[0]), wait.text, now - since, wait.lost))
                    news += [] if key in told else self.overdue[-1:]
        return news

    def in_words(self) -> list[str]:
        """Return the waits that last, in words."""
        more = len(self.overdue) - SHOWN
        return [*map(str, self.overdue[:SHOWN]), *([f"{more} more tasks wait like this"] if more > 0 else [])]


def waits_of(agent: Agent, executing: Sequence[tuple[int, int] | None]) -> Iterator[tuple[HostJob, Segment, Wait]]:
    """Yield what the earliest segments of each job wait for. executing: as in `Agent.tick`."""
    left = agent.settings.watched_segments
    for job in agent.jobs.values():
        for chain in job.chains.values():
            if chain is None:
                continue
            if left <= 0:
                return
            left -= 1
            for segment in chain.segments[chain.ended : chain.next + 1]:
                if not segment.over:
                    yield job, segment, wait_of(agent, job, segment, executing)


def wait_of(agent: Agent, job: HostJob, segment: Segment, executing: Sequence[tuple[int, int] | None]) -> Wait:
    """Return what a segment waits for: a runner's work, missing inputs, or a runner."""
    slot = segment.chain.slot
    if slot >= 0 and segment.id in agent.runners.slots[slot].outstanding:
        return _at_runner(agent, job, segment, slot, executing)
    return _for_inputs(agent, job, segment) if segment.missing else _for_a_runner(agent, segment, executing)


def _at_runner(agent: Agent, job: HostJob, segment: Segment, slot: int, executing: Sequence[tuple[int, int] | None]) -> Wait:
    if segment.id in agent.runners.slots[slot].deferred:
        claimed = agent.memory.claims_for(slot, segment.id)
        return Wait("memory for its result", overdue=not claimed)
    task = executing[slot]
    if task is None:
        return Wait(f"runner {slot}, which has it and executes nothing", overdue=True)
    is_it = task[0] == job.number and task[1] in segment.tasks
    return Wait(f"runner {slot} to finish it" if is_it else f"runner {slot}, which executes another task before it")


def _for_a_runner(agent: Agent, segment: Segment, executing: Sequence[tuple[int, int] | None]) -> Wait:
    slots = [runner for runner in agent.runners.slots if segment.place == 0 or runner.slot == segment.chain.slot]
    if not any(runner.alive for runner in slots):
        return Wait("a runner to start", overdue=True)
    busy = [runner.slot for runner in agent.runners.slots if runner.alive and (runner.busy or executing[runner.slot] is not None)]
    if segment.chain.alone or agent.runners.holds_back(segment):
        return Wait("its turn, because a task must run alone, or for resources of this host", overdue=not busy)
    if agent.memory.first_claim is not None or agent.memory.disk.parked:
        return Wait("memory, or the disk", overdue=not (busy or agent.memory.disk.busy or agent.grants.transfers))
    return Wait("a runner to become idle" if len(busy) >= len(slots) else "a runner, although one is idle", len(busy) < len(slots))


def _for_inputs(agent: Agent, job: HostJob, segment: Segment) -> Wait:
    """Return the wait for the first input that should have come; otherwise, for the first input that is missing."""
    found = [_for_input(agent, job, entry) for entry in segment.entries if entry.value is None and entry.block is None]
    if not found:
        return Wait("an input, although all its inputs are here", overdue=True)
    return next((wait for wait in found if wait.overdue), found[0])


def _for_input(agent: Agent, job: HostJob, entry: Entry) -> Wait:
    name = f"dataset {job.name_of(entry.dataset)!r}"
    if entry.spill_key:
        coming = agent.memory.disk.is_reading(entry.spill_key) or agent.memory.claims_of(job, entry.dataset)
        return Wait(f"{name} to come back from disk", overdue=not coming)
    if entry.granted is not None and entry.granted.writer == LINK:
        return Wait(
            f"the rest of {name} from host {entry.source}: {entry.filled:,} of {entry.granted.nbytes:,} bytes are here", overdue=True
        )
    if not entry.source:
        made_here = entry.granted is not None or job.makes(entry.dataset)
        if made_here:
            return Wait(f"{name}, which a task here makes")
        return Wait(f"{name}, for which no source is known", overdue=True, lost=entry.dataset)
    if entry.offered:
        return Wait(f"memory for {name} of host {entry.offered}", overdue=not agent.memory.claims_of(job, entry.dataset))
    state = agent.sources.state(entry.source)
    if state in (CONNECTING, DOWN):
        return Wait(f"a link to host {entry.source}, which has {name}", overdue=True)
    asked = "was" if entry.asked else "was not"
    return Wait(f"{name}, which host {entry.source} {asked} asked for", overdue=not entry.asked)
