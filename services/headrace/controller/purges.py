"""The copies of a job's datasets that hosts may drop.

The rules hold for copies in a host's store. Datasets that never leave a chain have none.

- A copy that is not the home may be dropped when every consumer placed on its host is done.
- The home copy may be dropped when nothing blocks it (see `uses.Uses`): every consumer placed on its host is done, and every other host
  with unfinished consumers has a copy. A consumer that is not placed blocks, because it might be placed on any host.
- The home copy of a requested output stays until the client has released it. Once the job is done, only that keeps it.
- A copy that its host kept in spite of a purge stays until one of its consumers has gone on.
"""

from __future__ import annotations

import numpy as np

from headrace.controller.uses import HOST_BITS, HOST_MASK, Uses
from headrace.ledger import ASKED, NOWHERE, RELEASED, UNPLACED, Changes, JobLedger, Touched
from headrace.ledger.columns import FEW, Batch, Ints, distinct

Drops = dict[int, list[int]]
"""For each host, the datasets that it may drop, in ascending order."""


def may_drop(job: JobLedger, changes: Changes) -> bool:
    """Whether a copy was added that can be dropped before the job ends.

    Outputs without consumers that are on one host only cannot be. A job that has no other copies needs no `Purges`: one of long chains,
    or one whose tasks are all outputs.
    """
    return bool(changes.released) or not all(_is_kept(job, some) for some in changes.touched)


def _is_kept(job: JobLedger, touched: Touched) -> bool:
    if isinstance(touched.datasets, list) and not len(job.topology.inputs):
        homes, flag = job.copies.homes, job.flag
        return all(homes[dataset] == touched.host and flag[dataset] & ASKED for dataset in touched.datasets)
    datasets = np.asarray(touched.datasets, dtype=np.int64)
    asked = (job.flags[datasets] & ASKED) != 0
    return bool((asked & (job.topology.n_consumers[datasets] == 0) & (job.copies.home[datasets] == touched.host)).all())


class Purges:
    """Finds the copies of one job that can be dropped. It may start at any time before the first copy can be."""

    def __init__(self, job: JobLedger) -> None:
        self._job = job
        self._uses = Uses(job)
        self._tasks = Batch()
        if len(job.topology.inputs):
            self._tasks.add(np.flatnonzero(job.host != UNPLACED))
        self._touched: list[Touched] = []
        self._released = Batch()

    def note_changes(self, changes: Changes) -> None:
        """Remember what changed, for `take_drops`."""
        if len(self._job.topology.inputs):
            for batch in (changes.done, changes.moved, changes.needed):
                self._tasks.few += batch.few
                self._tasks.many += batch.many
        self._touched += changes.touched
        self._released.few += changes.released.list()

    def take_drops(self) -> Drops:
        """Return the copies that can be dropped after all noted changes. The caller folds them as purges before the next call."""
        self._uses.follow(self._tasks)
        self._uses.touch(self._touched)
        pairs, datasets = self._uses.candidates()
        datasets.few += self._released.few
        self._tasks, self._touched, self._released = Batch(), [], Batch()
        if len(pairs) + len(datasets) > FEW:
            return self._many(distinct(pairs.array()), distinct(datasets.array()))
        return self._few(sorted(set(pairs.list())), sorted(set(datasets.list())))

    def _few(self, pairs: list[int], datasets: list[int]) -> Drops:
        job, drops = self._job, Drops()
        homes = job.copies.homes
        for pair in pairs:
            dataset, host = pair >> HOST_BITS, pair & HOST_MASK
            if homes[dataset] != host and job.copies.holds(host, dataset):
                drops.setdefault(host, []).append(dataset)
        for dataset in datasets:
            held = job.flag[dataset] & (ASKED | RELEASED) == ASKED
            if homes[dataset] != NOWHERE and not held and not self._uses.blocking[dataset]:
                drops.setdefault(homes[dataset], []).append(dataset)
        return _without_kept(job, {host: sorted(drops[host]) for host in sorted(drops)})

    def _many(self, pairs: Ints, datasets: Ints) -> Drops:
        job, home = self._job, self._job.copies.home
        of, hosts = pairs >> HOST_BITS, pairs & HOST_MASK
        pairs = pairs[(home[of] != hosts) & job.copies.held_at(of, hosts)]
        held = (job.flags[datasets] & (ASKED | RELEASED)) == ASKED
        free = datasets[(home[datasets] != NOWHERE) & ~held & (self._uses.blocking[datasets] == 0)]
        drops = np.concatenate([pairs, free << HOST_BITS | home[free]])
        return _without_kept(job, _by_host(drops >> HOST_BITS, drops & HOST_MASK))


def released_outputs(job: JobLedger) -> Drops:
    """Find the copies that can be dropped of a done job: all those of released outputs."""
    outputs = np.flatnonzero((job.flags & (ASKED | RELEASED)) == ASKED | RELEASED)
    drops: Drops = {}
    for host in range(len(job.hosts)):
        here = outputs[job.copies.held_by(host, outputs)]
        if len(here):
            drops[host] = here.tolist()
    return _without_kept(job, drops)


def _by_host(datasets: Ints, hosts: Ints) -> Drops:
    return {host: np.sort(datasets[hosts == host]).tolist() for host in distinct(hosts).tolist()}


def _without_kept(job: JobLedger, drops: Drops) -> Drops:
    if not job.kept:
        return drops
    left = {host: [dataset for dataset in datasets if (dataset, host) not in job.kept] for host, datasets in drops.items()}
    return {host: datasets for host, datasets in left.items() if datasets}
