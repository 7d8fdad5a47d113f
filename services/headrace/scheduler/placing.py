"""Where the chains of one wave go: shares of the hosts by water-filling, then chains to hosts, those with the clearest preference first.

Two implementations with the same result: loops for narrow waves, numpy for wide ones.
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
    """How long each host is busy with what was placed so far, in seconds from the start of the job.

    rates: seconds of work that a host does in a second: its runners. free: when each host has done what was placed on it; infinity for a
    host that is to get nothing, which is heeded unless all are such.
    """

    def __init__(self, rates: Sequence[float], free: Sequence[float] = ()) -> None:
        self.rates = list(rates)
        self.free = list(free) or [0.0] * len(self.rates)
        if all(map(math.isinf, self.free)):
            self.free = [0.0] * len(self.rates)

    @property
    def done(self) -> float:
        """When all hosts that get something have done what was placed on them."""
        return max(free for free in self.free if not math.isinf(free))

    def idlest(self) -> int:
        """The host that is free first."""
        return self.free.index(min(self.free))

    def shares(self, work: float, ready: float) -> tuple[list[float], float]:
        """How much of `work` (seconds) each host should take so that all that take some finish together, none starting before `ready`.

        Also returns when they would finish. Minus infinity for a host that is to get nothing.
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

    def take(self, loads: Sequence[float], ready: float) -> None:
        """Adds what was placed on each host (seconds)."""
        for host, load in enumerate(loads):
            if load:
                self.free[host] = max(self.free[host], ready) + load / self.rates[host]


def choose_few(costs: list[float], votes: list[list[float]], shares: list[float], slack: float) -> list[int]:
    """A host for each chain of a wave.

    costs: seconds per chain. votes: per chain, how much of its input is on each host. shares: seconds of work that each host should take.
    slack: by how much (seconds) a host may exceed its share rather than have inputs moved.
    """
    left = list(shares)
    placed = _all_preferred(costs, votes, left, slack) or _clearest_first(costs, votes, left, slack)
    if -1 in placed:
        rest = [c for c, host in enumerate(placed) if host < 0]
        for c, host in zip(rest, _runs_few([costs[c] for c in rest], left), strict=True):
            placed[c] = host
    return placed


def _all_preferred(costs: list[float], votes: list[list[float]], left: list[float], slack: float) -> list[int] | None:
    """The usual case: every host can take all chains that prefer it, whichever comes last. None if that is not so."""
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
    """Host by host, the chains that prefer it most; those that find no room there ask for the next best host. -1: no preference left."""
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
    """Per host: the chains of the pool that have most of their input there, the clearest cases first."""
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
    """Places chains on a host until its share is used up. Returns whether any was refused."""
    for c in chains:
        if costs[c] / 2 > left[host] + slack:
            return True
        placed[c] = host
        left[host] -= costs[c]
    return False


def _runs_few(costs: list[float], left: list[float]) -> list[int]:
    """A host for each of some chains without a preference: neighbours together, in proportion to what is left of the shares."""
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
    """As `choose_few`, for columns: costs (n), votes (n, hosts)."""
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
    """The chains of the pool that want a host, the clearest cases first, and the host that each wants."""
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
