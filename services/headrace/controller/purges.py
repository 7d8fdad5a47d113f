"""Which copies a job's hosts may drop: as early as known, host by host.

The rules, for a copy that is known to exist (a dataset that never leaves a chain has none):

- A copy on a host that is not the dataset's home goes when every consumer placed on that host is done.
- The home copy goes when nothing blocks it (see `uses.Uses`): every consumer placed there is done, and every other host with unfinished
  consumers has its own copy. A consumer that is not placed yet might be placed anywhere, so it blocks.
- The home copy of an asked-for output stays until the client has released it; once the job is done, nothing else keeps it.
- A copy that its host kept in spite of a purge stays until one of its consumers went on.
"""

from __future__ import annotations

import numpy as np

from headrace.controller.uses import HOST_BITS, HOST_MASK, Uses
from headrace.ledger import ASKED, NOWHERE, RELEASED, UNPLACED, Changes, JobLedger, Touched
from headrace.ledger.columns import FEW, Batch, Ints, distinct

Drops = dict[int, list[int]]
"""Host -> datasets that it may drop, in ascending order."""


def may_drop(job: JobLedger, changes: Changes) -> bool:
    """Whether something came that can be dropped before the job ends: anything but outputs that no task takes, each on one host.

    Until then there is nothing to follow, which in a graph of long chains, or of outputs alone, is the case to its end.
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
    """Follows one job, from any moment on at which nothing could be dropped yet, and says what can be dropped."""

    def __init__(self, job: JobLedger) -> None:
        self._job = job
        self._uses = Uses(job)
        self._tasks = Batch()
        if len(job.topology.inputs):
            self._tasks.add(np.flatnonzero(job.host != UNPLACED))
        self._touched: list[Touched] = []
        self._released = Batch()

    def note_changes(self, changes: Changes) -> None:
        """Remember what changed, for `take`."""
        if len(self._job.topology.inputs):
            for batch in (changes.done, changes.moved, changes.needed):
                self._tasks.few += batch.few
                self._tasks.many += batch.many
        self._touched += changes.touched
        self._released.few += changes.released.list()

    def take_drops(self) -> Drops:
        """What can be dropped now, going by all that was noted. The caller folds it as purges before it asks again."""
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
    """What can be dropped of a job that is done: every copy of the outputs that were released."""
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
