"""The copies of a job's datasets on hosts."""

from __future__ import annotations

import numpy as np

from headrace.ledger.columns import Cells, Ints, Numbers, cells, numbers

WORD = 64
"""Hosts per column of bits."""
_ZERO, _ONE = np.uint64(0), np.uint64(1)
NOWHERE = -1
"""The home of a dataset that no host holds."""


class Copies:
    """For each dataset: the hosts that hold a copy, as bits, and its home, the copy that other hosts fetch.

    The table also remembers which hosts dropped a copy (by a purge, or as `gone`), so that a late or repeated message does not bring the
    copy back. `allow` clears this where new work is a reason for a new copy.
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
        """Return the index of the column with this host's bit, and make the column if necessary."""
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
        """List the hosts that hold a copy of a dataset, in ascending order."""
        found: list[int] = []
        for word, column in enumerate(self._held):
            bits = column[dataset]
            while bits:
                low = bits & -bits
                found.append(word * WORD + low.bit_length() - 1)
                bits ^= low
        return found

    def held_by(self, host: int, datasets: Ints) -> Ints:
        """Tell for each dataset whether this host holds a copy."""
        return self._test(self._held, datasets, host)

    def held_at(self, datasets: Ints, hosts: Ints) -> Ints:
        """Tell for each pair of a dataset and a host whether the host holds a copy."""
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
        """Tell for each dataset whether this host is known to have dropped its copy."""
        return self._test(self._dropped, datasets, host)

    def all_held_by(self, host: int) -> Ints:
        """Return the datasets that a host holds, in ascending order."""
        return np.flatnonzero(numbers(self._held[self._word(host)]) & _bit(host))

    def _test(self, words: list[Cells], datasets: Ints, host: int) -> Ints:
        found: Ints = (numbers(words[self._word(host)])[datasets] & _bit(host)) != 0
        return found

    # --- changes --------------------------------------------------------------------------------------------------

    def add(self, host: int, datasets: Ints) -> tuple[Ints, Ints]:
        """Add copies on a host. Return the datasets that the host did not hold before, and those of them that no host held."""
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
        """Add one copy on a host. Return whether the host did not hold it before, and whether no host did."""
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
        """Drop copies of a host. Return the datasets that it held, and those of them whose home it was.

        The latter have their home on the lowest other host that holds them, or nowhere.
        """
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
        """Drop one copy of a host. Return whether the host was the home of the dataset."""
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
        """Drop everything that a lost host held, and forget what it had dropped before. Return the same as `drop`."""
        had, moved = self.drop(host, self.all_held_by(host))
        numbers(self._dropped[self._word(host)])[:] &= ~_bit(host)
        return had, moved

    def remove_all(self, datasets: Ints) -> None:
        """Remove all copies of datasets."""
        for column in self._held:
            numbers(column)[datasets] = 0
        self.home[datasets] = NOWHERE

    def allow(self, datasets: Ints, hosts: Ints) -> None:
        """Accept copies again that hosts had dropped, because new work on these hosts takes the datasets as inputs."""
        if not self.any_dropped:
            return
        for word, column in enumerate(self._dropped):
            here = hosts // WORD == word
            bits = np.uint64(1) << (hosts[here] % WORD).astype(np.uint64)
            np.bitwise_and.at(numbers(column), datasets[here], ~bits)

    def _lowest(self, datasets: Ints) -> Ints:
        """Return for each dataset the lowest host that holds it, or NOWHERE."""
        result = np.full(len(datasets), NOWHERE, dtype=np.int16)
        for word in reversed(range(len(self._held))):
            bits = numbers(self._held[word])[datasets]
            some = bits != 0
            low = bits[some] & (~bits[some] + np.uint64(1))
            result[some] = word * WORD + np.log2(low.astype(np.float64)).astype(np.int16)
        return result


def _bit(host: int) -> np.uint64:
    return np.uint64(1 << host % WORD)
