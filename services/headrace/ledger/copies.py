"""Which hosts hold which datasets of a job."""

from __future__ import annotations

import numpy as np

from headrace.ledger.columns import Ints, filled, view

WORD = 64
"""Hosts per column of bits."""
_ZERO, _ONE = np.uint64(0), np.uint64(1)
NOWHERE = -1
"""The home of a dataset that no host holds."""


class Copies:
    """Per dataset: the hosts that hold a copy, as bits, and its home, the copy that others fetch from.

    A host that is known to have dropped a copy (purged, or gone) is remembered, so that a message that comes late or twice does not bring
    the copy back; `allow` forgets it, when there is a reason for a new copy.
    """

    __slots__ = ("_dropped", "_dropped_views", "_held", "_views", "any_dropped", "home", "homes", "n_datasets")

    def __init__(self, n_datasets: int) -> None:
        self.n_datasets = n_datasets
        self.home: Ints = filled(n_datasets, NOWHERE, np.int16)
        self.homes = view(self.home)
        self._held: list[Ints] = []
        self._views: list[memoryview[int]] = []
        self._dropped: list[Ints] = []
        self._dropped_views: list[memoryview[int]] = []
        self.any_dropped = False
        self._word(0)

    def _word(self, host: int) -> int:
        """The column that has this host's bit; made if there is none."""
        word = host // WORD
        while word >= len(self._held):
            self._held.append(np.zeros(self.n_datasets, dtype=np.uint64))
            self._views.append(view(self._held[-1]))
            self._dropped.append(np.zeros(self.n_datasets, dtype=np.uint64))
            self._dropped_views.append(view(self._dropped[-1]))
        return word

    # --- questions ------------------------------------------------------------------------------------------------

    def holds(self, host: int, dataset: int) -> bool:
        """Whether the host holds a copy."""
        word = host // WORD
        return word < len(self._held) and bool(self._views[word][dataset] >> host % WORD & 1)

    def hosts(self, dataset: int) -> list[int]:
        """The hosts that hold a copy, in ascending order."""
        found: list[int] = []
        for word, column in enumerate(self._views):
            bits = column[dataset]
            while bits:
                low = bits & -bits
                found.append(word * WORD + low.bit_length() - 1)
                bits ^= low
        return found

    def held_by(self, host: int, datasets: Ints) -> Ints:
        """Per dataset: whether this host holds a copy."""
        return self._test(self._held, datasets, host)

    def held_at(self, datasets: Ints, hosts: Ints) -> Ints:
        """Per pair of dataset and host: whether it holds a copy."""
        if len(self._held) == 1:
            held: Ints = (self._held[0][datasets] >> hosts.astype(np.uint64) & _ONE) != _ZERO
            return held
        result = np.zeros(len(datasets), dtype=np.bool_)
        for word, column in enumerate(self._held):
            here = hosts // WORD == word
            bits = column[datasets] >> (hosts % WORD).astype(np.uint64)
            result |= here & ((bits & _ONE) != _ZERO)
        return result

    def was_dropped(self, host: int, dataset: int) -> bool:
        """Whether the host is known to have dropped its copy."""
        word = host // WORD
        return word < len(self._dropped) and bool(self._dropped_views[word][dataset] >> host % WORD & 1)

    def dropped_by(self, host: int, datasets: Ints) -> Ints:
        """Per dataset: whether this host is known to have dropped its copy."""
        return self._test(self._dropped, datasets, host)

    def all_held_by(self, host: int) -> Ints:
        """Every dataset that the host holds, in ascending order."""
        return np.flatnonzero(self._held[self._word(host)] & _bit(host))

    def _test(self, words: list[Ints], datasets: Ints, host: int) -> Ints:
        found: Ints = (words[self._word(host)][datasets] & _bit(host)) != 0
        return found

    # --- changes --------------------------------------------------------------------------------------------------

    def add(self, host: int, datasets: Ints) -> tuple[Ints, Ints]:
        """Copies come to be on a host. Returns the datasets for which that is new, and those of them that were nowhere before."""
        word, bit = self._word(host), _bit(host)
        held = self._held[word]
        new = datasets[(held[datasets] & bit) == 0]
        held[new] |= bit
        if self.any_dropped:
            self._dropped[word][new] &= ~bit
        first = new[self.home[new] == NOWHERE]
        self.home[first] = host
        return new, first

    def add_one(self, host: int, dataset: int) -> tuple[bool, bool]:
        """`add` for one dataset: whether it is new here, and whether it was nowhere before."""
        word, bit = self._word(host), 1 << host % WORD
        held = self._views[word]
        bits = held[dataset]
        if bits & bit:
            return False, False
        held[dataset] = bits | bit
        if self.any_dropped:
            self._dropped_views[word][dataset] &= ~bit
        if self.homes[dataset] != NOWHERE:
            return True, False
        self.homes[dataset] = host
        return True, True

    def drop(self, host: int, datasets: Ints) -> tuple[Ints, Ints]:
        """A host drops copies. Returns the datasets of which it had one, and those whose home it was: they have another now, or none."""
        word, bit = self._word(host), _bit(host)
        self._dropped[word][datasets] |= bit
        self.any_dropped = True
        had = datasets[(self._held[word][datasets] & bit) != 0]
        self._held[word][had] &= ~bit
        moved = had[self.home[had] == host]
        self.home[moved] = self._lowest(moved)
        return had, moved

    def drop_one(self, host: int, dataset: int) -> bool:
        """`drop` for one dataset: whether it was the home of it."""
        word, bit = self._word(host), 1 << host % WORD
        self._dropped_views[word][dataset] |= bit
        self.any_dropped = True
        if not self._views[word][dataset] & bit:
            return False
        self._views[word][dataset] &= ~bit
        if self.homes[dataset] != host:
            return False
        self.homes[dataset] = next(iter(self.hosts(dataset)), NOWHERE)
        return True

    def lose(self, host: int) -> tuple[Ints, Ints]:
        """A host is lost with all that it held; what it dropped does not matter any more. Returns the same as `drop`."""
        had, moved = self.drop(host, self.all_held_by(host))
        self._dropped[self._word(host)] &= ~_bit(host)
        return had, moved

    def allow(self, datasets: Ints, hosts: Ints) -> None:
        """New work on these hosts takes these datasets: a copy there may come again."""
        if not self.any_dropped:
            return
        for word, column in enumerate(self._dropped):
            here = hosts // WORD == word
            bits = np.uint64(1) << (hosts[here] % WORD).astype(np.uint64)
            np.bitwise_and.at(column, datasets[here], ~bits)

    def _lowest(self, datasets: Ints) -> Ints:
        """Per dataset: the lowest host that holds it, or NOWHERE."""
        result = np.full(len(datasets), NOWHERE, dtype=np.int16)
        for word in reversed(range(len(self._held))):
            bits = self._held[word][datasets]
            some = bits != 0
            low = bits[some] & (~bits[some] + np.uint64(1))
            result[some] = word * WORD + np.log2(low.astype(np.float64)).astype(np.int16)
        return result


def _bit(host: int) -> np.uint64:
    return np.uint64(1 << host % WORD)
