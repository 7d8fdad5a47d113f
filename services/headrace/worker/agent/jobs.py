"""What a host knows of one job: its graph as plain columns, the chains assigned, the datasets here or awaited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headrace.graph.naming import INPUT_NAMES, SHOWN, output_name, some_tasks
from headrace.graph.sinks import Sinks
from headrace.graph.topology import Topology
from headrace.telemetry import Timing
from headrace.worker.agent.columns import Columns
from headrace.worker.agent.relays import Broadcast
from headrace.worker.agent.report import JobReport
from headrace_schemas import Events, GraphSpec, SinkSpec
from headrace_shm import Block

if TYPE_CHECKING:
    from headrace.worker.agent.memory import Claim

JOB_BITS = 20
"""Low bits of a chain's order: the job, so that jobs take turns at the same places of their plans."""
SMOOTHING = 0.2
"""Weight of the newest measurement in a function's expected duration."""
TASK_SECONDS = 3e-6
"""What a runner needs for any task besides executing it."""


class Entry:
    """A dataset that is here, or that something here or elsewhere waits for.

    Most of these are made by the thousand for small values, so what is looked at for each of them has a slot, and what only datasets in
    the arena or of other hosts have is the class's until it differs.
    """

    __slots__ = ("__dict__", "block", "dataset", "granted", "source", "spill_key", "uses", "value", "waiters", "wanted_by")

    attempt = 0
    filled = 0
    """Bytes that have come into the room it was granted, where they come in pieces."""
    broadcast: Broadcast | None = None
    """Who has it from whom, if several hosts ask this one for it."""
    nbytes = 0
    """Of its block."""
    asked = False
    """Whether the source was asked since its link opened."""
    promised = 0
    """The attempt that its source makes of it, as far as the log said."""
    offered = ""
    """The host whose offer of it waits for memory."""
    sending = 0
    """Sends of its block under way."""
    claim: Claim | None = None
    """The claim that its room was granted for."""
    restoring = False
    """Whether room was asked for, to bring it back from disk."""
    pins = 0
    """Segments about to run that take it: it is not to go to disk."""
    owed = 0
    """Peers that have room for it and are to be sent it, when it is their turn."""

    def __init__(self, dataset: int) -> None:
        self.dataset = dataset
        self.value: bytes | None = None
        """The encoded value, if it is small."""
        self.block: Block[int] | None = None
        """Its place in the arena, once it is written."""
        self.granted: Block[int] | None = None
        """Room for a runner to write it to, or for another host to send it to."""
        self.source = ""
        """The host to have it from; empty if it is made here."""
        self.spill_key = ""
        """Under which it is on disk, or on its way there or back."""
        self.uses = 0
        """Segments here that take it and are not over."""
        self.waiters: Sequence[Segment] = ()
        self.wanted_by: Sequence[int] = ()
        """Peers that asked for it before it was here."""

    @property
    def here(self) -> bool:
        """Whether the data is on this host, in memory or on disk."""
        return self.value is not None or self.block is not None or self.spill_key != ""

    def wait(self, segment: Segment) -> None:
        """The segment waits for it."""
        if self.waiters:
            self.waiters.append(segment)  # type: ignore[attr-defined]
        else:
            self.waiters = [segment]


class Segment:
    """Tasks of a chain that run without a wait in between: it begins at the head, or at a task with inputs from outside the chain."""

    __slots__ = ("chain", "entries", "id", "inputs", "leaves", "missing", "over", "pinned", "place", "predicted", "tasks")

    def __init__(self, id: int, chain: Chain, place: int, tasks: list[int], leaves: list[int], inputs: Sequence[int]) -> None:
        self.id = id
        self.chain = chain
        self.place = place
        """Index among the chain's segments."""
        self.tasks = tasks
        self.leaves = leaves
        """Per task: what becomes of its datasets (see `segmentation.py`)."""
        self.inputs = inputs
        """Datasets from outside the chain."""
        self.entries: Sequence[Entry] = ()
        """Theirs, from the assignment until the segment is over: a dataset in use keeps its entry."""
        self.missing = 0
        self.predicted = 0.0
        """Seconds, while at a runner."""
        self.pinned = False
        """Whether its inputs are kept in memory for it."""
        self.over = False
        """Whether it has ended or was dropped."""


class Chain:
    """Tasks assigned together, for one runner."""

    __slots__ = ("again", "alone", "asked_back", "attempts", "ended", "id", "job", "next", "order", "segments", "slot")

    def __init__(self, job: HostJob, id: int, attempts: dict[int, int], position: int) -> None:
        self.job = job
        self.id = id
        self.order = (position << JOB_BITS) | job.number_bits
        """Position in plan order; jobs take turns."""
        self.attempts = attempts
        """Per task, where not 0."""
        self.segments: Sequence[Segment] = ()
        """None any more once the chain is over: nothing is to keep the other alive."""
        self.next = 0
        """The segment that is dispatched next."""
        self.ended = 0
        """Segments that ended."""
        self.slot = -1
        """The runner that has it."""
        self.again = False
        """Whether it is not of the plan, so that its tasks are reported one by one."""
        self.alone = False
        """Whether nothing else is executed here meanwhile."""
        self.asked_back = False
        """Whether it is to be given back to the scheduler, should its runner not have begun it."""


class HostJob:
    """One job on this host."""

    def __init__(
        self,
        number: int,
        name: str,
        spec: GraphSpec,
        report: JobReport,
        timings: list[Timing],
        topology: Topology,
        sink: SinkSpec | None = None,
    ) -> None:
        self.number = number
        self.number_bits = number & ((1 << JOB_BITS) - 1)
        self.name = name
        self.spec = spec
        self.report = report
        self.addresses: dict[str, str] = {}
        self.entries: dict[int, Entry] = {}
        self.chains: dict[int, Chain | None] = {}
        """All that were ever assigned, by id; None for those that are over."""
        self.n_live = 0
        """Chains that are not over."""
        self.dropped: set[int] = set()
        """Datasets that were here and were purged."""
        self.attempts: dict[int, int] = {}
        """The newest attempt assigned, per task, where not 0."""
        self.runners: set[int] = set()
        """Slots whose runner has the graph."""
        self.ended = ""
        """done, failed or cancelled, once it is over."""
        self.function: list[int] = spec.function
        needs = [each.resources for each in spec.functions]
        self.needs = needs if any(needs) else None
        """Per function: what its tasks need of this host; None if none of them needs anything."""
        self.expected: list[float | None] = [None] * len(spec.functions)
        self.timings: list[Timing] = timings
        """Per function: where what its tasks took is added up, over all jobs."""
        self.running: set[int] = set()
        """Tasks reported as started."""
        self.inputs: list[int] = spec.inputs
        columns = Columns.of(spec, topology)
        self.input_start, self.first_output, self.producer, self.is_output = columns[:4]
        self.uses_inside, self.is_taken, self.is_needed = columns[4:]
        self.sinks = Sinks.of_job(spec, sink)
        self.has_sinks = bool(self.sinks)
        self.is_held = _held(self.is_output, self.sinks) if self.has_sinks else self.is_output
        """Per dataset: whether it is an output that is held for the client."""

    def worded(self, events: Events) -> Events:
        """The facts, with what they are about in words: what was made, by the names of the tasks, and what started."""
        made = [self.producer[dataset] for dataset in events.produced[:SHOWN]]
        parts = [f"made {some_tasks(self.spec, made, len(events.produced))}"] if made else []
        parts += [f"started {some_tasks(self.spec, events.started)}"] if events.started else []
        parts += [f"failed {some_tasks(self.spec, [error.task for error in events.failed])}"] if events.failed else []
        events.about = "; ".join(parts)
        return events

    def task_inputs(self, task: int) -> list[int]:
        """The datasets that a task takes."""
        return self.inputs[self.input_start[task] : self.input_start[task + 1]]

    def input_names(self, task: int) -> list[str]:
        """The names of the first datasets that a task takes, for people."""
        return [self.name_of(dataset) for dataset in self.task_inputs(task)[:INPUT_NAMES]]

    def name_of(self, dataset: int) -> str:
        """The name of a dataset, for people."""
        maker = self.producer[dataset]
        return output_name(self.spec, maker, dataset - self.first_output[maker])

    def live_chains(self) -> list[Chain]:
        """The chains that are not over."""
        return [chain for chain in self.chains.values() if chain is not None]

    def unfinished(self) -> set[int]:
        """The tasks that are assigned and not over."""
        return {task for chain in self.live_chains() for segment in chain.segments if not segment.over for task in segment.tasks}

    def makes(self, dataset: int) -> bool:
        """Whether a task that is assigned, and not over, makes a dataset."""
        return self.producer[dataset] in self.unfinished()

    def open(self, chain: Chain) -> None:
        """A chain was assigned."""
        self.chains[chain.id] = chain
        self.n_live += 1

    def close(self, chain: Chain) -> None:
        """A chain is over."""
        self.n_live -= self.chains[chain.id] is not None
        self.chains[chain.id] = None
        chain.segments = ()

    def entry(self, dataset: int) -> Entry:
        """The dataset's entry, made if there is none."""
        entry = self.entries.get(dataset)
        if entry is None:
            entry = self.entries[dataset] = Entry(dataset)
        return entry

    def reopen(self, number: int) -> None:
        """The job goes on, under another number."""
        self.number, self.number_bits = number, number & ((1 << JOB_BITS) - 1)
        self.ended = ""
        self.dropped.clear()

    def begin_again(self, report: JobReport) -> None:
        """The host begins a new epoch: nothing is assigned to it."""
        self.report = report
        self.chains.clear()
        self.n_live = 0
        self.runners.clear()
        self.running.clear()

    def predict(self, tasks: list[int], unknown: float) -> float:
        """Seconds that tasks will take, by what their functions took so far."""
        expected, function, total = self.expected, self.function, TASK_SECONDS * len(tasks)
        for task in tasks:
            seconds = expected[function[task]]
            total += unknown if seconds is None else seconds
        return total

    def learn(self, function: int, mean: float) -> bool:
        """Take in a measured duration, in seconds. Returns whether it is the function's first."""
        before = self.expected[function]
        self.expected[function] = mean if before is None else before + SMOOTHING * (mean - before)
        return before is None


def _held(is_output: list[bool], sinks: Sinks) -> list[bool]:
    return [asked and sinks.of(dataset) is None for dataset, asked in enumerate(is_output)]
