"""The state of one job on a host: its graph as columns, its chains, and its datasets."""

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
"""The low bits of a chain's order hold the job's number. So chains at the same place of several jobs' plans alternate between the jobs."""
SMOOTHING = 0.2
"""The weight of the newest measurement in a function's expected duration."""
TASK_SECONDS = 3e-6
"""Seconds that a runner spends on any task besides executing it."""


class Entry:
    """A dataset that is on this host, or that a segment or a peer waits for.

    Most entries are small values, made by the thousand. So the fields of all entries have slots, and the fields of large datasets or of
    other hosts' datasets are class attributes until they are set.
    """

    __slots__ = ("__dict__", "block", "dataset", "granted", "source", "spill_key", "uses", "value", "waiters", "wanted_by")

    attempt = 0
    filled = 0
    """Bytes that have been written to the granted block, if the dataset arrives in pieces."""
    broadcast: Broadcast | None = None
    """The hosts that get it from each other, if several hosts ask this one for it."""
    nbytes = 0
    """The size of its block."""
    asked = False
    """Whether the source was asked for it since the link to the source opened."""
    promised = 0
    """The attempt that the source makes, as far as the log says."""
    offered = ""
    """The host whose offer of it waits for memory."""
    sending = 0
    """The number of sends of its block under way."""
    claim: Claim | None = None
    """The claim for which its block was granted."""
    restoring = False
    """Whether memory was claimed to read it back from disk."""
    pins = 0
    """The number of segments about to run that take it. While there are any, it must not go to disk."""
    owed = 0
    """The number of peers that granted memory for it and wait for their turn."""

    def __init__(self, dataset: int) -> None:
        self.dataset = dataset
        self.value: bytes | None = None
        """The encoded value of a small dataset."""
        self.block: Block[int] | None = None
        """Its block in the arena, once it is written completely."""
        self.granted: Block[int] | None = None
        """The block that a runner or another host is to write it to."""
        self.source = ""
        """The host that sends it; empty if this host makes it."""
        self.spill_key = ""
        """Its key on disk, from the start of the write until it is read back."""
        self.uses = 0
        """The number of segments on this host that take it and are not over."""
        self.waiters: Sequence[Segment] = ()
        self.wanted_by: Sequence[int] = ()
        """Peers that asked for it before it was here."""

    @property
    def here(self) -> bool:
        """Whether the dataset is on this host, in memory or on disk."""
        return self.value is not None or self.block is not None or self.spill_key != ""

    def wait(self, segment: Segment) -> None:
        """Add a segment that waits for the dataset."""
        if self.waiters:
            self.waiters.append(segment)  # type: ignore[attr-defined]
        else:
            self.waiters = [segment]


class Segment:
    """Consecutive tasks of a chain that run without a wait in between.

    It begins at the head of the chain, or at a task with inputs from outside the chain.
    """

    __slots__ = ("chain", "entries", "id", "inputs", "leaves", "missing", "over", "pinned", "place", "predicted", "tasks")

    def __init__(self, id: int, chain: Chain, place: int, tasks: list[int], leaves: list[int], inputs: Sequence[int]) -> None:
        self.id = id
        self.chain = chain
        self.place = place
        """Index among the chain's segments."""
        self.tasks = tasks
        self.leaves = leaves
        """Per task: whether its datasets leave the chain (see `segmentation.py`)."""
        self.inputs = inputs
        """Datasets from outside the chain."""
        self.entries: Sequence[Entry] = ()
        """The entries of its inputs, from the assignment until the segment is over. A dataset in use keeps its entry."""
        self.missing = 0
        self.predicted = 0.0
        """The predicted duration in seconds, while the segment is at a runner."""
        self.pinned = False
        """Whether its inputs are pinned in memory."""
        self.over = False
        """Whether it has ended or was dropped."""


class Chain:
    """Tasks that were assigned together, for one runner."""

    __slots__ = ("again", "alone", "asked_back", "attempts", "ended", "id", "job", "next", "order", "segments", "slot")

    def __init__(self, job: HostJob, id: int, attempts: dict[int, int], position: int) -> None:
        self.job = job
        self.id = id
        self.order = (position << JOB_BITS) | job.number_bits
        """The position in plan order. Chains at the same position of several jobs' plans alternate."""
        self.attempts = attempts
        """The attempt of each task for which it is not 0."""
        self.segments: Sequence[Segment] = ()
        """Empty once the chain is over, so that chain and segments do not keep each other alive."""
        self.next = 0
        """The index of the next segment to hand out."""
        self.ended = 0
        """The number of segments that ended."""
        self.slot = -1
        """The slot of its runner; -1 if it has none."""
        self.again = False
        """Whether it was assigned outside the plan, so that its tasks are reported one by one."""
        self.alone = False
        """Whether no other segment may run on this host at the same time."""
        self.asked_back = False
        """Whether it must be given back to the scheduler if its runner has not begun it."""


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
        """All chains that were ever assigned, by id; None for those that are over."""
        self.n_live = 0
        """The number of chains that are not over."""
        self.dropped: set[int] = set()
        """Datasets that were here and were purged."""
        self.attempts: dict[int, int] = {}
        """The newest attempt that was assigned, per task, where it is not 0."""
        self.runners: set[int] = set()
        """Slots whose runner has the graph."""
        self.ended = ""
        """The job's final state, once it is over: done, failed or cancelled."""
        self.function: list[int] = spec.function
        needs = [each.resources for each in spec.functions]
        self.needs = needs if any(needs) else None
        """The resources that each function's tasks need of this host; None if no function needs any."""
        self.expected: list[float | None] = [None] * len(spec.functions)
        self.timings: list[Timing] = timings
        """Per function: the total duration of its tasks, over all jobs."""
        self.running: set[int] = set()
        """Tasks reported as started."""
        self.inputs: list[int] = spec.inputs
        columns = Columns.of(spec, topology)
        self.input_start, self.first_output, self.producer, self.is_output = columns[:4]
        self.uses_inside, self.is_taken, self.is_needed = columns[4:]
        self.sinks = Sinks.of_job(spec, sink)
        self.has_sinks = bool(self.sinks)
        self.is_held = _held(self.is_output, self.sinks) if self.has_sinks else self.is_output
        """Per dataset: whether it is an output that hosts hold for the client."""

    def worded(self, events: Events) -> Events:
        """Add to facts a text that names the first tasks that made datasets, started or failed. Return the facts."""
        made = [self.producer[dataset] for dataset in events.produced[:SHOWN]]
        parts = [f"made {some_tasks(self.spec, made, len(events.produced))}"] if made else []
        parts += [f"started {some_tasks(self.spec, events.started)}"] if events.started else []
        parts += [f"failed {some_tasks(self.spec, [error.task for error in events.failed])}"] if events.failed else []
        events.about = "; ".join(parts)
        return events

    def task_inputs(self, task: int) -> list[int]:
        """Return the datasets that a task takes."""
        return self.inputs[self.input_start[task] : self.input_start[task + 1]]

    def input_names(self, task: int) -> list[str]:
        """Return the names of the first datasets that a task takes, for messages."""
        return [self.name_of(dataset) for dataset in self.task_inputs(task)[:INPUT_NAMES]]

    def name_of(self, dataset: int) -> str:
        """Return the name of a dataset, for messages."""
        maker = self.producer[dataset]
        return output_name(self.spec, maker, dataset - self.first_output[maker])

    def live_chains(self) -> list[Chain]:
        """Return the chains that are not over."""
        return [chain for chain in self.chains.values() if chain is not None]

    def unfinished(self) -> set[int]:
        """Return the tasks that are assigned and not over."""
        return {task for chain in self.live_chains() for segment in chain.segments if not segment.over for task in segment.tasks}

    def makes(self, dataset: int) -> bool:
        """Return whether a task that is assigned, and not over, makes a dataset."""
        return self.producer[dataset] in self.unfinished()

    def open(self, chain: Chain) -> None:
        """Add a chain that was assigned."""
        self.chains[chain.id] = chain
        self.n_live += 1

    def close(self, chain: Chain) -> None:
        """Mark a chain as over."""
        self.n_live -= self.chains[chain.id] is not None
        self.chains[chain.id] = None
        chain.segments = ()

    def entry(self, dataset: int) -> Entry:
        """Return the dataset's entry, which is made if there is none."""
        entry = self.entries.get(dataset)
        if entry is None:
            entry = self.entries[dataset] = Entry(dataset)
        return entry

    def reopen(self, number: int) -> None:
        """Let the job go on under another number."""
        self.number, self.number_bits = number, number & ((1 << JOB_BITS) - 1)
        self.ended = ""
        self.dropped.clear()

    def begin_again(self, report: JobReport) -> None:
        """Forget all chains, because the host begins a new epoch."""
        self.report = report
        self.chains.clear()
        self.n_live = 0
        self.runners.clear()
        self.running.clear()

    def predict(self, tasks: list[int], unknown: float) -> float:
        """Return the predicted duration of tasks, in seconds. unknown: the duration of a task whose function never ran."""
        expected, function, total = self.expected, self.function, TASK_SECONDS * len(tasks)
        for task in tasks:
            seconds = expected[function[task]]
            total += unknown if seconds is None else seconds
        return total

    def learn(self, function: int, mean: float) -> bool:
        """Take in a measured duration, in seconds. Return whether it is the function's first one."""
        before = self.expected[function]
        self.expected[function] = mean if before is None else before + SMOOTHING * (mean - before)
        return before is None


def _held(is_output: list[bool], sinks: Sinks) -> list[bool]:
    return [asked and sinks.of(dataset) is None for dataset, asked in enumerate(is_output)]
