"""Placement of the chains of one wave.

Water-filling gives each host a share of the work. Then each chain goes to the host with most of its inputs, as far as the shares allow;
chains with the clearest preference choose first. There are two implementations with the same result: loops for narrow waves, numpy for wide
ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int32]


class Balance:
    """The time for which each host is busy with the chains placed on it, in seconds from the start of the job.

    rates: the seconds of work that each host does in a second, which is its number of runners. free: the time at which each host has done
    its work. Infinity means that a host must get none; if that holds for all hosts, it is ignored.
    """

    def __init__(self, rates: Sequence[float], free: Sequence[float] = ()) -> None:
        self.rates = list(rates)
        self.free = list(free) or [0.0] * len(self.rates)
        if all(map(math.isinf, self.free)):
            self.free = [0.0] * len(self.rates)

    @property
    def done(self) -> float:
        """The time at which all hosts that may get work have done theirs."""
        return max(free for free in self.free if not math.isinf(free))

    def idlest(self) -> int:
        """Return the index of the host that is free first."""
        return self.free.index(min(self.free))

    def shares(self, work: float, ready: float) -> tuple[list[float], float]:
        """Divide `work` (seconds) among the hosts so that all that get some finish together, and none starts before `ready`.

        Returns the share of each host in seconds, and the time at which they finish. The share of a host that must get none is minus
        infinity.
        """
        base = [max(free, ready) for free in self.free]
        order = sorted(range(len(base)), key=base.__getitem__)
        level = rate = 0.0
        weighted = 0.0
        for place, host in enumerate(order):
            rate += self.rates[host]
            weighted += self.rates[host] * base[host]
            level = (work + weighted) / rate
            if place + 1 == len(order) or level <= base[order[place + 1]]:
                break
        shares = [rate * max(0.0, level - start) for rate, start in zip(self.rates, base, strict=True)]
        return [-math.inf if math.isinf(start) else share for share, start in zip(shares, base, strict=True)], level

    def add_work(self, loads: Sequence[float], ready: float) -> None:
        """Add the work that was placed on each host, in seconds, none of which starts before `ready`."""
        for host, load in enumerate(loads):
            if load:
                self.free[host] = max(self.free[host], ready) + load / self.rates[host]


def choose_few(costs: list[float], votes: list[list[float]], shares: list[float], slack: float) -> list[int]:
    """Choose a host for each chain of a wave, by loops.

    costs: seconds of each chain. votes: for each chain, the amount of its inputs on each host. shares: seconds of work for each host.
    slack: seconds by which a host may exceed its share to avoid moving inputs.
    """
    left = list(shares)
    placed = _all_preferred(costs, votes, left, slack) or _clearest_first(costs, votes, left, slack)
    if -1 in placed:
        rest = [c for c, host in enumerate(placed) if host < 0]
        for c, host in zip(rest, _runs_few([costs[c] for c in rest], left), strict=True):
            placed[c] = host
    return placed


def _all_preferred(costs: list[float], votes: list[list[float]], left: list[float], slack: float) -> list[int] | None:
    """Give every chain to the host that it prefers, which is the usual case. None if a host cannot take all chains that prefer it."""
    placed, demand = [], [0.0] * len(left)
    for cost, vote in zip(costs, votes, strict=True):
        best = max(vote)
        if best > 0:
            host = vote.index(best)
            demand[host] += cost
            placed.append(host)
        else:
            placed.append(-1)
    spare = slack + min(costs) / 2
    for host, cost in enumerate(demand):
        if cost > left[host] + spare:
            return None
    left[:] = [room - cost for room, cost in zip(left, demand, strict=True)]
    return placed


def _clearest_first(costs: list[float], votes: list[list[float]], left: list[float], slack: float) -> list[int]:
    """Give chains to the hosts that they prefer, the clearest cases first. A chain without room there takes its next best host.

    Returns -1 for chains without any preference left.
    """
    placed, shut = [-1] * len(costs), [False] * len(left)
    pool = [c for c, vote in enumerate(votes) if any(vote)]
    while pool:
        wanted = _preferences_few(votes, shut, pool)
        refused = [host for host, chains in enumerate(wanted) if _accept_few(host, chains, costs, left, slack, placed)]
        if not refused:
            break
        for host in refused:
            shut[host] = True
        pool = [c for c in pool if placed[c] < 0]
    return placed


def _preferences_few(votes: list[list[float]], shut: list[bool], pool: list[int]) -> list[list[int]]:
    """List for each host the chains of the pool that have most of their inputs there, the clearest cases first."""
    wanted: list[list[tuple[float, int]]] = [[] for _ in shut]
    for c in pool:
        best, second, where = 0.0, 0.0, -1
        for host, vote in enumerate(votes[c]):
            if vote > best and not shut[host]:
                best, second, where = vote, best, host
            elif vote > second and not shut[host]:
                second = vote
        if where >= 0:
            wanted[where].append((second - best, c))
    return [[c for _, c in sorted(chains)] for chains in wanted]


def _accept_few(host: int, chains: list[int], costs: list[float], left: list[float], slack: float, placed: list[int]) -> bool:
    """Place chains on a host until its share is used up. Return whether any chain was refused."""
    for c in chains:
        if costs[c] / 2 > left[host] + slack:
            return True
        placed[c] = host
        left[host] -= costs[c]
    return False


def _runs_few(costs: list[float], left: list[float]) -> list[int]:
    """Choose hosts for chains without a preference: consecutive chains together, in proportion to what is left of the shares."""
    room = list(accumulate(max(0.0, share) for share in left))
    if not costs or room[-1] <= 0:
        return [int(np.argmax(left))] * len(costs)
    ends = list(accumulate(costs))
    scale = ends[-1] / room[-1]
    host, hosts = 0, []
    for cost, end in zip(costs, ends, strict=True):
        while host + 1 < len(room) and room[host] * scale < end - cost / 2:
            host += 1
        hosts.append(host)
    return hosts


def choose_many(costs: Floats, votes: Floats, shares: list[float], slack: float) -> Ids:
    """Choose a host for each chain of a wave, by numpy. The result is that of `choose_few`. costs: shape (n). votes: shape (n, hosts)."""
    placed, left, shut = np.full(len(costs), -1, dtype=np.int32), list(shares), np.zeros(len(shares), dtype=np.bool_)
    pool = np.flatnonzero(votes.any(axis=1))
    while len(pool):
        chains, where = _preferences_many(votes, shut, pool)
        refused = [host for host in range(len(left)) if _accept_many(host, chains[where == host], costs, left, slack, placed)]
        if not refused:
            break
        shut[refused] = True
        pool = pool[placed[pool] < 0]
    rest = np.flatnonzero(placed < 0)
    placed[rest] = _runs_many(costs[rest], left)
    return placed


def _preferences_many(votes: Floats, shut: npt.NDArray[np.bool_], pool: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Ids]:
    """Return the chains of the pool that prefer a host, the clearest cases first, and the host that each prefers."""
    open_votes = np.where(shut, 0.0, votes[pool])
    where = open_votes.argmax(axis=1)
    rows = np.arange(len(pool))
    best = open_votes[rows, where]
    open_votes[rows, where] = 0.0
    order = np.argsort(open_votes.max(axis=1) - best, kind="stable")
    order = order[best[order] > 0]
    return pool[order], where[order].astype(np.int32)


def _accept_many(host: int, chains: npt.NDArray[np.int64], costs: Floats, left: list[float], slack: float, placed: Ids) -> bool:
    ends = np.cumsum(costs[chains])
    count = int(np.count_nonzero(ends - costs[chains] / 2 <= left[host] + slack))
    placed[chains[:count]] = host
    if count:
        left[host] -= float(ends[count - 1])
    return count < len(chains)


def _runs_many(costs: Floats, left: list[float]) -> Ids:
    room = np.cumsum(np.maximum(left, 0.0))
    if not len(costs) or room[-1] <= 0:
        return np.full(len(costs), np.argmax(left), dtype=np.int32)
    ends = np.cumsum(costs)
    hosts = np.searchsorted(room * (ends[-1] / room[-1]), ends - costs / 2)
    return np.minimum(hosts, len(left) - 1).astype(np.int32)
