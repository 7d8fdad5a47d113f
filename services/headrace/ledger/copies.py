"""Which hosts hold which datasets of a job."""

from __future__ import annotations

import numpy as np

from headrace.ledger.columns import Cells, Ints, Numbers, cells, numbers

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

    __slots__ = ("__dict__", "_dropped", "_held", "any_dropped", "homes", "n_datasets")

    home = Numbers("homes")

    def __init__(self, n_datasets: int) -> None:
        self.n_datasets = n_datasets
        self.homes = cells("h", n_datasets, NOWHERE)
        self._held = [cells("Q", n_datasets)]
        self._dropped = [cells("Q", n_datasets)]
        self.any_dropped = False

    def _word(self, host: int) -> int:
        """The column that has this host's bit; made if there is none."""
        word = host // WORD
        while word >= len(self._held):
            self._held.append(cells("Q", self.n_datasets))
            self._dropped.append(cells("Q", self.n_datasets))
        return word

    # --- questions ------------------------------------------------------------------------------------------------

    def holds(self, host: int, dataset: int) -> bool:
        """Whether the host holds a copy."""
        word = host // WORD
        return word < len(self._held) and bool(self._held[word][dataset] >> host % WORD & 1)

    def hosts(self, dataset: int) -> list[int]:
        """The hosts that hold a copy, in ascending order."""
        found: list[int] = []
        for word, column in enumerate(self._held):
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
            held: Ints = (numbers(self._held[0])[datasets] >> hosts.astype(np.uint64) & _ONE) != _ZERO
            return held
        result = np.zeros(len(datasets), dtype=np.bool_)
        for word, column in enumerate(self._held):
            here = hosts // WORD == word
            bits = numbers(column)[datasets] >> (hosts % WORD).astype(np.uint64)
            result |= here & ((bits & _ONE) != _ZERO)
        return result

    def was_dropped(self, host: int, dataset: int) -> bool:
        """Whether the host is known to have dropped its copy."""
        word = host // WORD
        return word < len(self._dropped) and bool(self._dropped[word][dataset] >> host % WORD & 1)

    def dropped_by(self, host: int, datasets: Ints) -> Ints:
        """Per dataset: whether this host is known to have dropped its copy."""
        return self._test(self._dropped, datasets, host)

    def all_held_by(self, host: int) -> Ints:
        """Every dataset that the host holds, in ascending order."""
        return np.flatnonzero(numbers(self._held[self._word(host)]) & _bit(host))

    def _test(self, words: list[Cells], datasets: Ints, host: int) -> Ints:
        found: Ints = (numbers(words[self._word(host)])[datasets] & _bit(host)) != 0
        return found

    # --- changes --------------------------------------------------------------------------------------------------

    def add(self, host: int, datasets: Ints) -> tuple[Ints, Ints]:
        """Copies come to be on a host. Returns the datasets for which that is new, and those of them that were nowhere before."""
        word, bit = self._word(host), _bit(host)
        held = numbers(self._held[word])
        new = datasets[(held[datasets] & bit) == 0]
        held[new] |= bit
        if self.any_dropped:
            numbers(self._dropped[word])[new] &= ~bit
        first = new[self.home[new] == NOWHERE]
        self.home[first] = host
        return new, first

    def add_one(self, host: int, dataset: int) -> tuple[bool, bool]:
        """`add` for one dataset: whether it is new here, and whether it was nowhere before."""
        word, bit = self._word(host), 1 << host % WORD
        held = self._held[word]
        bits = held[dataset]
        if bits & bit:
            return False, False
        held[dataset] = bits | bit
        if self.any_dropped:
            self._dropped[word][dataset] &= ~bit
        if self.homes[dataset] != NOWHERE:
            return True, False
        self.homes[dataset] = host
        return True, True

    def drop(self, host: int, datasets: Ints) -> tuple[Ints, Ints]:
        """A host drops copies. Returns the datasets of which it had one, and those whose home it was: they have another now, or none."""
        word, bit = self._word(host), _bit(host)
        numbers(self._dropped[word])[datasets] |= bit
        self.any_dropped = True
        held = numbers(self._held[word])
        had = datasets[(held[datasets] & bit) != 0]
        held[had] &= ~bit
        moved = had[self.home[had] == host]
        self.home[moved] = self._lowest(moved)
        return had, moved

    def drop_one(self, host: int, dataset: int) -> bool:
        """`drop` for one dataset: whether it was the home of it."""
        word, bit = self._word(host), 1 << host % WORD
        self._dropped[word][dataset] |= bit
        self.any_dropped = True
        if not self._held[word][dataset] & bit:
            return False
        self._held[word][dataset] &= ~bit
        if self.homes[dataset] != host:
            return False
        self.homes[dataset] = next(iter(self.hosts(dataset)), NOWHERE)
        return True

    def lose(self, host: int) -> tuple[Ints, Ints]:
        """A host is lost with all that it held; what it dropped does not matter any more. Returns the same as `drop`."""
        had, moved = self.drop(host, self.all_held_by(host))
        numbers(self._dropped[self._word(host)])[:] &= ~_bit(host)
        return had, moved

    def forget(self, datasets: Ints) -> None:
        """No host holds any of these datasets."""
        for column in self._held:
            numbers(column)[datasets] = 0
        self.home[datasets] = NOWHERE

    def allow(self, datasets: Ints, hosts: Ints) -> None:
        """New work on these hosts takes these datasets: a copy there may come again."""
        if not self.any_dropped:
            return
        for word, column in enumerate(self._dropped):
            here = hosts // WORD == word
            bits = np.uint64(1) << (hosts[here] % WORD).astype(np.uint64)
            np.bitwise_and.at(numbers(column), datasets[here], ~bits)

    def _lowest(self, datasets: Ints) -> Ints:
        """Per dataset: the lowest host that holds it, or NOWHERE."""
        result = np.full(len(datasets), NOWHERE, dtype=np.int16)
        for word in reversed(range(len(self._held))):
            bits = numbers(self._held[word])[datasets]
            some = bits != 0
            low = bits[some] & (~bits[some] + np.uint64(1))
            result[some] = word * WORD + np.log2(low.astype(np.float64)).astype(np.int16)
        return result


def _bit(host: int) -> np.uint64:
    return np.uint64(1 << host % WORD)
