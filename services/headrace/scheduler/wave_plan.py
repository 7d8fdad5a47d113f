"""The fast planner: a pure function of graph, hosts and costs that takes about 1 us for each task.

Chains are in depth-first order and are placed wave by wave. A wave consists of the chains whose last tasks are equally deep, so the inputs
of a chain come from earlier waves. The hosts share a wave so that they finish it together. A chain goes to the host with most of its
inputs, unless that host has its share already.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from headrace.graph.topology import Topology
from headrace.ledger.columns import Ints, ranges
from headrace.scheduler.chains import Chains, fuse
from headrace.scheduler.fitting import Demand, choose_fit, cut
from headrace.scheduler.inputs import outside
from headrace.scheduler.placing import Balance, Floats, choose_few, choose_many
from headrace.scheduler.ranks import rank

NARROW = 64
"""The average number of chains in a wave below which loops (about 2 microseconds for a chain) beat numpy (about 100 for a wave)."""


@dataclass(frozen=True)
class Costs:
    """The costs of tasks and transfers. Without measurements all tasks cost the same.

    function_seconds: the duration of each function's tasks; empty if unknown. default_seconds: the duration of a task if that is unknown.
    dataset_bytes: the size of each dataset; empty if all weigh the same. transfer_seconds: how much later a chain may start on the host
    that has its inputs, to avoid moving them.
    """

    function_seconds: tuple[float, ...] = ()
    default_seconds: float = 1.0
    dataset_bytes: tuple[float, ...] = ()
    transfer_seconds: float = 0.5

    def task_seconds(self, topology: Topology) -> Floats:
        """Return the duration of each task in seconds."""
        if not self.function_seconds:
            return np.full(topology.n_tasks, self.default_seconds)
        return np.array(self.function_seconds)[topology.function]


class Placed(NamedTuple):
    """A plan: chains in plan order. placed: the index of each chain's host. makespan: predicted seconds; 0 without measured costs."""

    lengths: list[int]
    tasks: list[int]
    placed: list[int]
    makespan: float


def plan(topology: Topology, balance: Balance, costs: Costs, longest_chain: int, demand: Demand | None = None) -> Placed:
    """Fuse, order and place a graph's tasks on hosts.

    balance: the hosts, and the time for which they are busy; the plan's work is added. longest_chain: the most tasks of a chain. demand:
    the needs of the tasks, if any; for each kind there must be a host that can run it.
    """
    ranks = rank(topology)
    chains = fuse(topology, ranks, longest_chain)
    if demand is not None:
        chains = cut(chains, demand.kind)
    n_hosts, n_chains = len(balance.rates), len(chains.lengths)
    if (n_hosts == 1 or (n_chains == 1 and demand is None)) and not costs.function_seconds:
        return Placed(*chains, [balance.idlest()] * n_chains, 0.0)
    waves = Waves(topology, chains, np.array(ranks.level, dtype=np.int32), costs)
    narrow = n_chains < NARROW * waves.count
    if demand is not None:
        heads = np.cumsum(chains.lengths) - chains.lengths
        kinds = demand.kind[np.array(chains.tasks)[heads]]
        placed, makespan = _place_fit(waves, kinds, demand.rates, balance, costs.transfer_seconds)
    else:
        placed, makespan = (_place_few if narrow else _place_many)(waves, balance, costs.transfer_seconds)
    return Placed(*chains, placed, makespan if costs.function_seconds else 0.0)


class Waves:
    """The chains of a graph, sorted by wave and then in plan order, with their costs and inputs.

    chains (n): the plan index of each chain. start (waves + 1): the position at which each wave begins. seconds (n): the cost of each
    chain. latest (n): the latest wave that the chain has inputs from; -1 without inputs. The inputs of chain i from outside are the rows
    row_start[i] to row_start[i + 1] of `row` (the position i), `maker` (the plan index of the producer's chain) and `weight`.
    """

    def __init__(self, topology: Topology, chains: Chains, level: Ints, costs: Costs) -> None:
        lengths, tasks = np.array(chains.lengths), np.array(chains.tasks, dtype=np.int32)
        ends = np.cumsum(lengths)
        _, wave = np.unique(level[tasks[ends - 1]], return_inverse=True)
        taken = outside(topology, lengths, tasks)
        self.chains = np.argsort(wave, kind="stable")
        self.start = np.concatenate(([0], np.cumsum(np.bincount(wave))))
        self.seconds = np.add.reduceat(costs.task_seconds(topology)[tasks], ends - lengths)[self.chains]
        counts = taken.counts[self.chains]
        datasets = taken.datasets[ranges((np.cumsum(taken.counts) - taken.counts)[self.chains], counts)]
        chain_of = np.empty(topology.n_tasks, dtype=np.int32)
        chain_of[tasks] = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        self.row_start = np.concatenate(([0], np.cumsum(counts)))
        self.row = np.repeat(np.arange(len(lengths)), counts)
        self.maker = chain_of[topology.producer[datasets]]
        self.weight = np.array(costs.dataset_bytes)[datasets] if costs.dataset_bytes else np.ones(len(datasets))
        self.latest = np.full(len(lengths), -1)
        some = counts > 0
        if len(datasets):
            self.latest[some] = np.maximum.reduceat(wave[self.maker], self.row_start[:-1][some])

    @property
    def count(self) -> int:
        """The number of waves."""
        return len(self.start) - 1

    def votes(self, first: int, last: int, placed: Ints, n_hosts: int) -> Floats:
        """Return the amount of inputs that each host has, for the chains in [first, last). placed: the host of each chain in plan order."""
        inputs = slice(self.row_start[first], self.row_start[last])
        cells = (self.row[inputs] - first) * n_hosts + placed[self.maker[inputs]]
        return np.bincount(cells, self.weight[inputs], (last - first) * n_hosts).astype(np.float64).reshape(last - first, n_hosts)


def _place_fit(waves: Waves, kinds: Ints, rates: Floats, balance: Balance, slack: float) -> tuple[list[int], float]:
    """Place chains that need resources. kinds: for each chain in plan order. rates: as in `Demand`. Returns the same as `_place_many`."""
    n_hosts = len(balance.rates)
    placed = np.zeros(len(waves.chains), dtype=np.int32)
    done = np.zeros(waves.count + 1)
    for wave, (first, last) in enumerate(pairwise(waves.start.tolist())):
        votes = waves.votes(first, last, placed, n_hosts)
        ready = float(done[waves.latest[first:last]].mean())
        chains = waves.chains[first:last]
        placed[chains], done[wave] = choose_fit(waves.seconds[first:last], votes, kinds[chains], rates, balance, ready, slack)
    return placed.tolist(), max(float(done.max()), balance.done)


def _place_many(waves: Waves, balance: Balance, slack: float) -> tuple[list[int], float]:
    """Place chains by numpy. Return the host of each chain in plan order, and the time at which all are done."""
    n_hosts = len(balance.rates)
    placed = np.zeros(len(waves.chains), dtype=np.int32)
    done = np.zeros(waves.count + 1)
    for wave, (first, last) in enumerate(pairwise(waves.start.tolist())):
        votes = waves.votes(first, last, placed, n_hosts)
        seconds = waves.seconds[first:last]
        ready = float(done[waves.latest[first:last]].mean())
        shares, level = balance.shares(float(seconds.sum()), ready)
        hosts = choose_many(seconds, votes, shares, slack)
        placed[waves.chains[first:last]] = hosts
        balance.add_work(np.bincount(hosts, seconds, n_hosts).tolist(), ready)
        done[wave] = max(level, ready + float(seconds.max()))
    return placed.tolist(), max(float(done.max()), balance.done)


def _place_few(waves: Waves, balance: Balance, slack: float) -> tuple[list[int], float]:
    """Place chains by loops. Returns the same as `_place_many`."""
    n_hosts = len(balance.rates)
    chains, starts, row_start, maker = (c.tolist() for c in (waves.chains, waves.start, waves.row_start, waves.maker))
    all_seconds, weight, latest = waves.seconds.tolist(), waves.weight.tolist(), waves.latest.tolist()
    placed = [0] * len(chains)
    done = [0.0] * (waves.count + 1)
    for wave, (first, last) in enumerate(pairwise(starts)):
        votes = []
        for begin, end in pairwise(row_start[first : last + 1]):
            vote = [0.0] * n_hosts
            for row in range(begin, end):
                vote[placed[maker[row]]] += weight[row]
            votes.append(vote)
        seconds = all_seconds[first:last]
        ready = sum([done[before] for before in latest[first:last]]) / (last - first)
        shares, level = balance.shares(sum(seconds), ready)
        hosts = choose_few(seconds, votes, shares, slack)
        loads = [0.0] * n_hosts
        for chain, host, cost in zip(chains[first:last], hosts, seconds, strict=True):
            placed[chain] = host
            loads[host] += cost
        balance.add_work(loads, ready)
        done[wave] = max(level, ready + max(seconds))
    return placed, max(*done, balance.done)
