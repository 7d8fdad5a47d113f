"""Where the datasets of a job are still used: how many unfinished consumers each has on each host."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from headrace.ledger import DONE, UNPLACED, JobLedger, Touched
from headrace.ledger.columns import FEW, Batch, Growing, Ints, ints, ranges, view

OVER = -2
"""Instead of a host: the task is done and uses nothing any more."""
HOST_BITS = 16
"""A pair of dataset and host is one integer, dataset << HOST_BITS | host: it sorts and is looked up as one."""
HOST_MASK = (1 << HOST_BITS) - 1


class Uses:
    """Counts, per pair of dataset and host, the consumers placed there that are not done.

    A pair *blocks* the home copy of its dataset while it has such consumers and still depends on the home: the home is on that host, or
    that host has no copy yet. A consumer that is not placed blocks too. `blocking` (per dataset) counts what blocks.

    After changes, `pairs` and `datasets` name the pairs whose copy, and the datasets whose home copy, might be dropped now.
    Counts follow the ledger by comparison (what a task was counted as, and what it is), so the order of changes does not matter.
    """

    def __init__(self, job: JobLedger) -> None:
        self._job = job
        self._counted: Ints = np.full(job.topology.n_tasks, UNPLACED, dtype=np.int16)
        self._use: Ints = np.full(len(job.topology.inputs), -1, dtype=np.int32)
        self.blocking: Ints = job.topology.n_consumers.astype(np.int32)
        self._keys: Ints = ints(())
        self._ids: Ints = ints(())
        self._pair, self._left, self._blocks = Growing(np.int64), Growing(np.int32), Growing(np.uint8)
        self.pairs, self.datasets = Batch(), Batch()
        self._make_views()

    def _make_views(self) -> None:
        self._keys_seen, self._ids_seen = view(self._keys), view(self._ids)
        self._left_seen, self._blocks_seen = view(self._left.array), view(self._blocks.array)

    def left(self, pairs: Ints) -> Ints:
        """Per pair: how many consumers on that host are not done."""
        uses = self._find(pairs)
        result: Ints = np.where(uses >= 0, self._left.array[uses], 0) if self._left.length else np.zeros(len(pairs), dtype=np.int32)
        return result

    def left_one(self, pair: int) -> int:
        """`left` for one pair."""
        use = self._find_one(pair)
        return self._left_seen[use] if use >= 0 else 0

    # --- tasks that were placed, are done, or are needed again ---------------------------------------------------------

    def follow(self, tasks: Ints) -> None:
        """Count some tasks (distinct ones) as what they are now: unfinished on a host, not placed, or done."""
        job, topology = self._job, self._job.topology
        old, new = self._counted[tasks], np.where(job.state[tasks] == DONE, OVER, job.host[tasks])
        other = old != new
        if not other.all():
            tasks, old, new = tasks[other], old[other], new[other]
        self._counted[tasks] = new
        counts = topology.n_inputs[tasks]
        edges = ranges(topology.input_start[tasks], counts) if counts.any() else ints(())
        if not len(edges):
            return
        datasets = topology.inputs[edges].astype(np.int64)
        self._leave(edges, datasets, np.repeat(old, counts))
        self._arrive(edges, datasets, np.repeat(new, counts))

    def follow_few(self, tasks: list[int]) -> None:
        """The same for a few tasks; quicker for those that are done and have few inputs."""
        rest = [task for task in tasks if not self._finish(task)]
        if rest:
            self.follow(np.unique(ints(rest)))

    def _finish(self, task: int) -> bool:
        """Count a task as done, if it is, was placed, and its inputs are few."""
        topology = self._job.topology
        start, end = int(topology.input_start[task]), int(topology.input_start[task + 1])
        if start == end:
            return True
        if self._job.states[task] != DONE or end - start > FEW or int(self._counted[task]) < 0:
            return False
        self._counted[task] = OVER
        for use in self._use[start:end].tolist():
            self._left_seen[use] -= 1
            if not self._left_seen[use]:
                self._refresh_one(use)
        return True

    def _leave(self, edges: Ints, datasets: Ints, old: Ints) -> None:
        np.subtract.at(self.blocking, datasets[old == UNPLACED], 1)
        uses = self._use[edges[old >= 0]]
        np.subtract.at(self._left.array, uses, 1)
        self._refresh(uses[self._left.array[uses] == 0])

    def _arrive(self, edges: Ints, datasets: Ints, new: Ints) -> None:
        np.add.at(self.blocking, datasets[new == UNPLACED], 1)
        placed = new >= 0
        if not placed.any():
            return
        uses = self._find_or_make(datasets[placed] << HOST_BITS | new[placed])
        self._use[edges[placed]] = uses
        np.add.at(self._left.array, uses, 1)
        self._refresh(uses[self._blocks.array[uses] == 0])

    # --- copies that came or went ---------------------------------------------------------------------------------------

    def touch(self, touched: Touched) -> None:
        """A host has, or has no more, copies of some datasets, or is their home now."""
        datasets = touched.datasets
        if len(datasets) > FEW:
            many = np.asarray(datasets, dtype=np.int64)
            pairs = many << HOST_BITS | touched.host
            uses = self._find(pairs)
            self._refresh(uses[uses >= 0])
            self.pairs.add(pairs)
            self.datasets.add(many)
            return
        for dataset in datasets if isinstance(datasets, list) else datasets.tolist():
            pair = dataset << HOST_BITS | touched.host
            use = self._find_one(pair)
            if use >= 0:
                self._refresh_one(use)
            self.pairs.few.append(pair)
            self.datasets.few.append(dataset)

    def _refresh(self, uses: Ints) -> None:
        """See whether these pairs block, and who may be free of what now."""
        if not len(uses):
            return
        uses = np.unique(uses)
        pairs = self._pair.array[uses]
        datasets, hosts = pairs >> HOST_BITS, pairs & HOST_MASK
        copies = self._job.copies
        busy = self._left.array[uses] > 0
        blocks = busy & ((copies.home[datasets] == hosts) | ~copies.held_at(datasets, hosts))
        change = blocks.astype(np.int32) - self._blocks.array[uses]
        self._blocks.array[uses] = blocks
        np.add.at(self.blocking, datasets, change)
        self.pairs.add(pairs[~busy])
        self.datasets.add(datasets[change < 0])

    def _refresh_one(self, use: int) -> None:
        pair = int(self._pair.array[use])
        dataset, host = pair >> HOST_BITS, pair & HOST_MASK
        copies = self._job.copies
        busy = self._left_seen[use] > 0
        blocks = busy and (copies.homes[dataset] == host or not copies.holds(host, dataset))
        change = blocks - self._blocks_seen[use]
        if change:
            self._blocks_seen[use] = blocks
            self.blocking[dataset] += change
            self.datasets.few.append(dataset)
        if not busy:
            self.pairs.few.append(pair)

    # --- the table of pairs -----------------------------------------------------------------------------------------------

    def _find(self, pairs: Ints) -> Ints:
        """Per pair: its place in the columns, or -1."""
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
        uses = self._find(pairs)
        missing = uses < 0
        if not missing.any():
            return uses
        new = np.unique(pairs[missing])
        before = np.searchsorted(self._keys, new)
        ids = np.arange(self._pair.length, self._pair.length + len(new))
        self._keys, self._ids = np.insert(self._keys, before, new), np.insert(self._ids, before, ids)
        self._pair.extend(new)
        for column in (self._left, self._blocks):
            column.resize(self._pair.length, 0)
        self._make_views()
        uses[missing] = self._find(pairs[missing])
        return uses
