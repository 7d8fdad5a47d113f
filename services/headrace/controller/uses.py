"""The unfinished consumers of each dataset of a job on each host."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import NamedTuple

import numpy as np

from headrace.ledger import DONE, UNPLACED, JobLedger, Touched
from headrace.ledger.columns import FEW, Batch, Ints, add_at, distinct, extend, ints, lengthen, numbers, ranges, view

OVER = -2
"""Stands for the host of a done task, which uses no dataset any more."""
HOST_BITS = 16
"""A pair of dataset and host is one integer, dataset << HOST_BITS | host, so that pairs are sorted and looked up as integers."""
HOST_MASK = (1 << HOST_BITS) - 1


class Candidates(NamedTuple):
    """Copies that might be dropped.

    pairs: copies without unfinished consumers on their host. datasets: those whose home copy might be dropped.
    """

    pairs: Batch
    datasets: Batch


class Uses:
    """Counts of the unfinished consumers of each dataset on each host.

    A pair of dataset and host *blocks* the dataset's home copy while the host has unfinished consumers and depends on the home: because it
    is the home, or because it has no copy yet. A consumer that is not placed blocks too. `blocking` counts, for each dataset, what blocks
    it.

    The counts follow the ledger by comparing how a task was counted with its present state, so the order of changes does not matter. Pass
    all changes to `follow` and `touch`, then call `candidates`.
    """

    def __init__(self, job: JobLedger) -> None:
        self._job = job
        self._counted: Ints = np.full(job.topology.n_tasks, UNPLACED, dtype=np.int16)
        self._use: Ints = np.full(len(job.topology.inputs), -1, dtype=np.int32)
        self.blocking: Ints = job.topology.n_consumers.astype(np.int32)
        self._keys: Ints = ints(())
        self._ids: Ints = ints(())
        self._pair, self._left, self._blocks = array("q"), array("i"), array("B")
        self._stale = Batch()
        self._found = Candidates(Batch(), Batch())
        self._make_views()

    def _make_views(self) -> None:
        self._keys_seen, self._ids_seen = view(self._keys), view(self._ids)

    # --- tasks that were placed, are done, or are needed again ---------------------------------------------------------

    def follow(self, tasks: Batch) -> None:
        """Count tasks by their present state: unfinished on a host, not placed, or done."""
        if len(tasks) > FEW:
            self._follow_many(self._job.distinct(tasks.array()))
            return
        rest = [task for task in sorted(set(tasks.list())) if not self._finish(task)]
        if rest:
            self._follow_many(ints(rest))

    def _finish(self, task: int) -> bool:
        """Count a task that is done, was placed, and has few inputs. Faster than `_follow_many`. Returns whether the task is counted."""
        topology = self._job.topology
        start, end = int(topology.input_start[task]), int(topology.input_start[task + 1])
        if start == end:
            return True
        if self._job.states[task] != DONE or end - start > FEW or int(self._counted[task]) < 0:
            return False
        self._counted[task] = OVER
        for use in self._use[start:end].tolist():
            self._left[use] -= 1
            if not self._left[use]:
                self._stale.few.append(use)
        return True

    def _follow_many(self, tasks: Ints) -> None:
        job, topology = self._job, self._job.topology
        old, new = self._counted[tasks], np.where(job.state[tasks] == DONE, OVER, job.host[tasks])
        other = old != new
        if not other.all():
            tasks, old, new = tasks[other], old[other], new[other]
        self._counted[tasks] = new
        counts = topology.n_inputs[tasks]
        edges = ranges(topology.input_start[tasks], counts)
        if len(edges):
            self._leave(edges, np.repeat(old, counts))
            self._arrive(edges, np.repeat(new, counts))

    def _leave(self, edges: Ints, old: Ints) -> None:
        unplaced = old == UNPLACED
        if unplaced.any():
            add_at(self.blocking, self._job.topology.inputs[edges[unplaced]], -1)
        uses = self._use[edges[old >= 0]]
        add_at(numbers(self._left), uses, -1)
        self._stale.add(uses[numbers(self._left)[uses] == 0])

    def _arrive(self, edges: Ints, new: Ints) -> None:
        datasets = self._job.topology.inputs[edges].astype(np.int64)
        unplaced, placed = new == UNPLACED, new >= 0
        if unplaced.any():
            add_at(self.blocking, datasets[unplaced], 1)
        if placed.any():
            uses = self._find_or_make(datasets[placed] << HOST_BITS | new[placed])
            self._use[edges[placed]] = uses
            add_at(numbers(self._left), uses, 1)
            self._stale.add(uses[numbers(self._blocks)[uses] == 0])

    # --- copies that were added or lost ---------------------------------------------------------------------------------

    def touch(self, touched: list[Touched]) -> None:
        """Note copies that were added, were lost, or became the home."""
        if sum(len(some.datasets) for some in touched) <= FEW:
            for some in touched:
                self._touch_few(some.host, some.datasets if isinstance(some.datasets, list) else some.datasets.tolist())
            return
        datasets = [np.asarray(some.datasets, dtype=np.int64) for some in touched]
        pairs = np.concatenate([many << HOST_BITS | some.host for many, some in zip(datasets, touched, strict=True)])
        uses = self._find(pairs)
        self._stale.add(uses[uses >= 0])
        self._found.pairs.add(pairs[uses < 0])
        self._found.datasets.add(pairs >> HOST_BITS)

    def _touch_few(self, host: int, datasets: list[int]) -> None:
        for dataset in datasets:
            pair = dataset << HOST_BITS | host
            use = self._find_one(pair)
            if use >= 0:
                self._stale.few.append(use)
            else:
                self._found.pairs.few.append(pair)
        self._found.datasets.few += datasets

    def candidates(self) -> Candidates:
        """Return the copies that might be dropped after the changes since the last call, and update `blocking`."""
        if len(self._stale) > FEW:
            self._refresh(distinct(self._stale.array()))
        else:
            for use in set(self._stale.list()):
                self._refresh_one(use)
        self._stale = Batch()
        found, self._found = self._found, Candidates(Batch(), Batch())
        return found

    def _refresh(self, uses: Ints) -> None:
        pairs = numbers(self._pair)[uses]
        datasets, hosts = pairs >> HOST_BITS, pairs & HOST_MASK
        copies = self._job.copies
        busy = numbers(self._left)[uses] > 0
        blocks = busy & ((copies.home[datasets] == hosts) | ~copies.held_at(datasets, hosts))
        change = blocks.astype(np.int32) - numbers(self._blocks)[uses]
        numbers(self._blocks)[uses] = blocks
        add_at(self.blocking, datasets, change)
        self._found.pairs.add(pairs[~busy])
        self._found.datasets.add(datasets[change < 0])

    def _refresh_one(self, use: int) -> None:
        pair = self._pair[use]
        dataset, host = pair >> HOST_BITS, pair & HOST_MASK
        copies = self._job.copies
        busy = self._left[use] > 0
        blocks = busy and (copies.homes[dataset] == host or not copies.holds(host, dataset))
        change = blocks - self._blocks[use]
        if change:
            self._blocks[use] = blocks
            self.blocking[dataset] += change
            self._found.datasets.few.append(dataset)
        if not busy:
            self._found.pairs.few.append(pair)

    # --- the table of pairs -----------------------------------------------------------------------------------------------

    def _find(self, pairs: Ints) -> Ints:
        """Return for each pair its index in the columns, or -1."""
        if not len(self._keys):
            return np.full(len(pairs), -1)
        places = np.searchsorted(self._keys, pairs)
        places[places == len(self._keys)] = 0
        result: Ints = np.where(self._keys[places] == pairs, self._ids[places], -1)
        return result

    def _find_one(self, pair: int) -> int:
        place = bisect_left(self._keys_seen, pair)
        return self._ids_seen[place] if place < len(self._keys_seen) and self._keys_seen[place] == pair else -1

    def _find_or_make(self, pairs: Ints) -> Ints:
        order = np.argsort(pairs)
        ordered = pairs[order]
        first = np.ones(len(pairs), dtype=np.bool_)
        first[1:] = ordered[1:] != ordered[:-1]
        wanted = ordered[first]
        found = self._find(wanted)
        missing = found < 0
        if missing.any():
            found[missing] = self._make(wanted[missing])
        uses = np.empty(len(pairs), dtype=np.int32)
        uses[order] = found[np.cumsum(first) - 1]
        return uses

    def _make(self, new: Ints) -> Ints:
        """Add new pairs and return their indexes. new: distinct, in ascending order."""
        before = np.searchsorted(self._keys, new)
        ids = np.arange(len(self._pair), len(self._pair) + len(new))
        self._keys, self._ids = np.insert(self._keys, before, new), np.insert(self._ids, before, ids)
        extend(self._pair, new)
        for column in (self._left, self._blocks):
            lengthen(column, len(self._pair), 0)
        self._make_views()
        return ids
