"""The state of one job, folded from its part of the log."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import GraphError
from headrace.graph.naming import dataset_metadata, dataset_name, task_name
from headrace.graph.needs import Needs
from headrace.graph.sinks import Sinks
from headrace.graph.topology import Topology
from headrace.graph.validation import validate
from headrace.ledger.chains import ChainTable
from headrace.ledger.changes import Changes, Touched
from headrace.ledger.columns import Ints, Numbers, cells, distinct
from headrace.ledger.copies import NOWHERE, Copies
from headrace.ledger.hardships import Interruption
from headrace.ledger.sunk import Sunk
from headrace_schemas import Ended, GraphSpec, JobState, NotCommitted, SinkSpec, Submitted, TaskError, Written
from headrace_schemas.limits import MAX_HOSTS
from headrace_schemas.options import options_of

if TYPE_CHECKING:
    from headrace.ledger.placing import Placing

WAITING, ASSIGNED, STARTED, DONE, FAILED = range(5)
"""States of a task. WAITING: not released to a host. ASSIGNED: released. FAILED: the last attempt failed, or was lost with its host."""
STATE_NAMES = ("waiting", "assigned", "started", "done", "failed")

ASKED, RELEASED, VALUE, PUBLISHED, SUNK, WRITTEN = 1, 2, 4, 8, 16, 32
"""Flags of a dataset.

ASKED: a requested output that is held for the client. RELEASED: the client released it. VALUE: its value is in the log. PUBLISHED: it was
announced. SUNK: a requested output that goes to a sink. WRITTEN: its file was written, and is or will be committed.
"""

UNPLACED = -1
"""The host, or chain, of a task without one."""


class JobLedger:
    """The tasks, datasets, chains and hosts of one job, as columns that are indexed by their ids.

    The functions in `orders` and `facts` change it. Its users only read, and call `take_changes`.

    Columns by task: `state`, `attempt` (the newest one that is needed or was assigned), `host`, `chain`. Columns by dataset: `copies`,
    `size` (bytes; 0 until it is produced), `flags`, `made` (the newest attempt that produced it). Plain loops use the same columns as
    `states`, `attempts`, `placed`, `chain_of`, `sizes`, `flag` and `made_by`, so that a small job makes no numpy arrays.

    - `n_done`: the number of done tasks. `n_missing`: requested outputs that are neither available nor released. `n_values`: outputs whose
      value is in the log. With `keep_values`, `values` has the encoded values, and `arrays` the dtype and shape of each output that is one
      array.
    - `sunk`: the state of outputs in sinks, or None. An output in a sink is available once it is published.
    - `n_planned`: the number of chains in the parts of the plan that were read. `planned`: whether that is the whole plan. A job of one
      task has no Plan: it consists of one chain, and is planned once that chain is assigned.
    - `failures`: for each task, the errors of its failed attempts. `interrupted`: the attempts that ran on a host that was lost. `due`: the
      newest attempt whose pause is over.
    - `again`: tasks that were done, and run again because their datasets were lost. `returned_at`: the sequence of the last entry with
      which a host brought datasets back.
    - `reopened`: whether the job is done and recomputes lost outputs. `reopened_at`: `at` of the last `Needed` after the end. `closed_at`:
      `at` of the last `Ended`. Messages of one writer may be in the log in another order than they were decided in.
    - `release_reason`: why outputs were released, if not by a client. `refused`: why the job may not run. `problem`: why the graph cannot
      run; then there are no columns, and only the end of the job is folded.
    - `needs`: the resources that tasks need, if any. `seq`, `last_seq`: the sequences of the submission and of the last entry about the
      job; 0 if they were not read from the log.
    """

    __slots__ = (
        "__dict__", "_placing", "_scratch", "again", "arrays", "attempts", "cancel_asked", "chain_of", "chains", "changes", "client",
        "closed_at", "copies", "cuts", "due", "end", "ended_at", "failures", "flag", "host_ids", "hosts", "interrupted", "job",
        "keep_values", "kept", "last_seq", "made_by", "memory_used", "n_done", "n_missing", "n_outputs", "n_planned", "n_released",
        "n_tasks", "n_values", "name", "needs", "one_output_each", "options", "placed", "planned", "problem", "profile", "refused",
        "release_reason", "reopened", "reopened_at", "retried", "returned_at", "seq", "sizes", "source", "states", "submitted", "sunk",
        "topology", "values", "yielded",
    )  # fmt: skip

    state, attempt, host, chain = Numbers("states"), Numbers("attempts"), Numbers("placed"), Numbers("chain_of")
    size, made, flags = Numbers("sizes"), Numbers("made_by"), Numbers("flag")

    def __init__(self, submitted: Submitted, time: float, *, keep_values: bool = False) -> None:
        self.job, self.name, self.client, self.n_tasks = submitted.job, submitted.name, submitted.client, submitted.n_tasks
        self.source = submitted.graph
        self.options = options_of(submitted.options, submitted.graph)
        self.submitted, self.ended_at = time, 0.0
        self.seq = self.last_seq = 0
        self.end: Ended | None = None
        self.cancel_asked: str | None = None
        self.hosts: list[str] = []
        self.host_ids: dict[str, int] = {}
        self.planned = False
        self.changes = Changes()
        self.keep_values = keep_values
        self.values: dict[int, bytes] = {}
        self.arrays: dict[int, tuple[str, list[int]]] = {}
        self.yielded: dict[int, dict[str, Any]] = {}
        self.failures: dict[int, dict[int, TaskError]] = {}
        self.interrupted: dict[int, list[Interruption]] = {}
        self.due: dict[int, int] = {}
        self.kept: set[tuple[int, int]] = set()
        self.cuts: dict[int, int] = {}
        self.profile: dict[int, tuple[int, float, float]] = {}
        self.memory_used: dict[str, int] = {}
        self.n_done = self.n_values = 0
        self.again: set[int] = set()
        self.release_reason = ""
        self.retried = self.reopened = False
        self.reopened_at = self.closed_at = self.returned_at = 0
        self.problem = self.refused = ""
        self.needs: Needs | None = None
        try:
            self._make_columns(_validated(submitted))
            spec = self.spec
            self.name, self.n_tasks, self.needs = spec.name, spec.n_tasks, Needs.of(spec)
        except GraphError as error:
            self.problem = str(error)
            self._make_columns(_NOTHING)

    def _make_columns(self, topology: Topology) -> None:
        n, m = topology.n_tasks, topology.n_datasets
        self.topology = topology
        self.states, self.attempts, self.placed, self.chain_of = (
            cells("B", n),
            cells("i", n),
            cells("h", n, UNPLACED),
            cells("i", n, UNPLACED),
        )
        self.sizes, self.made_by = cells("q", m), cells("i", m)
        self.flag = array("B", topology.is_output.tobytes())
        self.copies = Copies(m)
        self.n_released = 0
        self.n_outputs = self.n_missing = topology.n_asked
        self.one_output_each = n == m
        self.n_planned = int(n == 1)
        self.chains = ChainTable.of_one_task() if n == 1 else ChainTable()
        self.sunk = self._mark_sunk()
        self._scratch: Ints | None = None
        self._placing: Placing | None = None

    def _mark_sunk(self) -> Sunk | None:
        """Mark the outputs that go to sinks, which are not held for the client. Return their state, or None if there are none."""
        spec = self.source.inline
        if (self.options.sink is None and (spec is None or not spec.sunk)) or not self.flag:
            return None
        asked = (self.flags & ASKED) != 0
        if self.sinks.default is None:
            asked &= np.isin(np.arange(len(asked)), self.sinks.sunk)
        self.flags[asked] = SUNK
        return Sunk()

    @property
    def sinks(self) -> Sinks:
        """The sink of each output."""
        return Sinks.of_job(self.source.inline or _EMPTY, self.options.sink)

    # --- questions ------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> GraphSpec:
        """The submitted graph. Raises GraphError if the job has none."""
        if self.source.inline is None:
            raise GraphError(self.problem)
        return self.source.inline

    @property
    def phase(self) -> JobState:
        """The state of the job as people see it: queued, running, done, failed or cancelled."""
        return self.end.state if self.end is not None else "running" if self.hosts and self.n_planned else "queued"

    @property
    def n_held(self) -> int:
        """The number of outputs that do not go to a sink."""
        return self.n_outputs if self.sunk is None else int(np.count_nonzero(self.flags & ASKED))

    @property
    def is_complete(self) -> bool:
        """Whether every output is available or released, and every task was done at least once.

        Outputs alone are not enough: a task may fail after it has yielded its last requested output.
        """
        return not self.n_missing and self.n_done + len(self.again) == self.n_tasks

    @property
    def done_by_values(self) -> bool:
        """Whether the job must be done because all its values are in the log. A client can then return before it reads `Ended`.

        That holds if every output has its value in the log, every task is done, no attempt failed, and no client asked to cancel the job.
        """
        if self.n_values != self.n_outputs or not self.n_outputs or self.cancel_asked is not None or self.failures:
            return False
        return self.is_complete

    @property
    def nothing_kept(self) -> bool:
        """Whether no host keeps an output for the client: each was released, or its value is in the log."""
        if self.n_outputs in (self.n_values, self.n_released):
            return True
        return not ((self.flags & (ASKED | RELEASED | VALUE)) == ASKED).any()

    @property
    def over(self) -> bool:
        """Whether the job failed or was cancelled, so that later messages about it are ignored."""
        return self.end is not None and self.end.state != "done"

    def task_counts(self) -> dict[str, int]:
        """Count the tasks in each state."""
        return dict(zip(STATE_NAMES, np.bincount(self.state, minlength=len(STATE_NAMES)).tolist(), strict=True))

    def status(self) -> dict[str, Any]:
        """Summarise the job for people: its phase, its outputs, and the number of tasks in each state."""
        outputs = {"outputs": self.n_outputs, "available": self.n_outputs - self.n_missing}
        return {"job": self.job, "name": self.name, "state": self.phase, "n_tasks": self.n_tasks, **self.task_counts(), **outputs}

    def available(self, dataset: int) -> bool:
        """Whether a living host holds a dataset, its value is in the log, or it was written to its sink."""
        return self.copies.homes[dataset] != NOWHERE or bool(self.flag[dataset] & (VALUE | WRITTEN))

    def n_failures(self, task: int) -> int:
        """Count the attempts of a task that failed, or were running on a host that was lost."""
        return len(self.failures.get(task, ())) + len(self.interrupted.get(task, ()))

    def is_paused(self, task: int) -> bool:
        """Whether the newest attempt of a task failed, and the pause before the next one is not over."""
        attempt = self.attempts[task]
        if self.states[task] != FAILED or self.due.get(task, -1) >= attempt:
            return False
        return attempt in self.failures.get(task, ()) or any(each.attempt == attempt for each in self.interrupted.get(task, ()))

    def readable(self, dataset: int) -> bool:
        """Whether a client can read an output: from a host, from the log, or from its sink once it is published."""
        flags = self.flag[dataset]
        return bool(flags & PUBLISHED) if flags & SUNK else self.available(dataset)

    def are_available(self, datasets: Ints) -> Ints:
        """Tell for each of these datasets whether it is available."""
        found: Ints = (self.copies.home[datasets] != NOWHERE) | ((self.flags[datasets] & (VALUE | WRITTEN)) != 0)
        return found

    def outputs(self) -> list[int]:
        """List the requested outputs in ascending order."""
        asked: list[int] = np.flatnonzero(self.flags & (ASKED | SUNK)).tolist()
        return asked

    def holder(self, dataset: int) -> str:
        """Return the name of the host to fetch a dataset from, or "" if no host holds it."""
        home = self.copies.homes[dataset]
        return "" if home == NOWHERE else self.hosts[home]

    def task_name(self, task: int) -> str:
        """Return the name of a task. Raises GraphError if the job has no graph."""
        return task_name(self.spec, task)

    def dataset_name(self, dataset: int) -> str:
        """Return the name of a dataset. Raises GraphError if the job has no graph."""
        return dataset_name(self.spec, dataset, self.topology)

    def metadata(self, dataset: int) -> dict[str, Any]:
        """Return the metadata that a dataset is announced with: its task's, overlaid with its own, and then with that of its yield."""
        if not (self.spec.annotated or self.spec.described or self.yielded):
            return {}
        return {**dataset_metadata(self.spec, int(self.topology.producer[dataset]), dataset), **self.yielded.get(dataset, {})}

    def sink_of(self, dataset: int) -> SinkSpec | None:
        """Return the sink of an output; None for an output that is held for the client, and for a dataset that is not an output."""
        return self.sinks.of(dataset) if self.flag[dataset] & SUNK else None

    @property
    def placing(self) -> Placing:
        """The locations of the job's outputs in sinks."""
        if self._placing is None:
            from headrace.ledger.placing import Placing

            self._placing = Placing(self.job, self.spec, self.topology, self.sinks)
        return self._placing

    def place_written(self, written: Written, host: str) -> Written | NotCommitted:
        """Return a host's report of a written file with the paths that the job's sink gives it, or the reason why it has no valid path."""
        try:
            return self.placing.placed(written, host, self.yielded.get(written.dataset, {}))
        except GraphError as error:
            return NotCommitted(dataset=written.dataset, attempt=written.attempt, error=str(error))

    def host_id(self, name: str) -> int:
        """Return the index of a host in the job's table. A new host is added."""
        index = self.host_ids.get(name)
        if index is None:
            index = self.host_ids[name] = len(self.hosts)
            self.hosts.append(name)
        return index

    def has_room(self, *names: str) -> bool:
        """Whether the table has room for these hosts, so that `host_id` may add those that are new."""
        return len(self.hosts) + len(names) <= MAX_HOSTS or len(self.hosts) + len({*names}.difference(self.host_ids)) <= MAX_HOSTS

    def take_changes(self) -> Changes:
        """Return what changed since the last call."""
        changes, self.changes = self.changes, Changes()
        return changes

    # --- changes that orders and facts share --------------------------------------------------------------------------

    def distinct(self, tasks: Ints) -> Ints:
        """Remove repetitions from a list of tasks, and keep its order."""
        order = np.arange(len(tasks), dtype=np.int32)
        if self._scratch is None:
            self._scratch = np.empty(self.topology.n_tasks, dtype=np.int32)
        self._scratch[tasks[::-1]] = order[::-1]
        first: Ints = tasks[self._scratch[tasks] == order]
        return first

    def take_back(self, tasks: list[int]) -> None:
        """Note that tasks that were done must run again."""
        distinct_tasks = set(tasks)
        self.n_done -= len(distinct_tasks)
        self.again |= distinct_tasks

    def found(self, datasets: Ints) -> None:
        """Note that a host now holds these datasets, which no host held before."""
        outputs = datasets[(self.flags[datasets] & (ASKED | RELEASED | VALUE)) == ASKED]
        self.n_missing -= len(outputs)
        self.changes.to("outputs").add(outputs)

    def found_one(self, dataset: int) -> None:
        """Note that a host now holds this dataset, which no host held before."""
        if self.flag[dataset] & (ASKED | RELEASED | VALUE) == ASKED:
            self.n_missing -= 1
            self.changes.to("outputs").few.append(dataset)

    def rehomed(self, datasets: Ints) -> Ints:
        """Note that these datasets have another home, because the old one dropped them. Return those without any copy."""
        homes = self.copies.home[datasets]
        for home in distinct(homes[homes != NOWHERE]).tolist():
            self.changes.touched.append(Touched(home, datasets[homes == home]))
        nowhere: Ints = datasets[homes == NOWHERE]
        self.n_missing += int(((self.flags[nowhere] & (ASKED | RELEASED | VALUE)) == ASKED).sum())
        return nowhere

    def unkeep(self, datasets: Ints | list[int]) -> None:
        """Allow hosts that kept these datasets to be asked again to drop them, because consumers have gone on."""
        wanted = set(datasets if isinstance(datasets, list) else datasets.tolist())
        for dataset, host in sorted(pair for pair in self.kept if pair[0] in wanted):
            self.kept.discard((dataset, host))
            self.changes.touched.append(Touched(host, [dataset]))


_EMPTY = GraphSpec(name="", n_tasks=0, shape_hash="", content_hash="", functions=[], function=[])
_NOTHING = Topology.from_spec(_EMPTY)


def _validated(submitted: Submitted) -> Topology:
    spec = submitted.graph.inline
    if spec is None:
        where = (
            f"object {submitted.graph.key!r:.80} of the store 'graphs' is missing, or is not what was submitted"
            if submitted.graph.key
            else "the submission had none that could be read"
        )
        raise GraphError(f"job {submitted.job} has no graph: {where}. Submit it again")
    return validate(spec)
