"""Placement where tasks need something of their host: each only where that is, and in proportion to how much of it there is.

Chains are cut where what their tasks need changes, so that a chain needs one thing throughout: a GPU is not held while a chain does what
any processor could, and that goes to any host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headrace.graph.needs import Needs
from headrace.graph.resources import Resources, fits
from headrace.graph.topology import Ids
from headrace.ledger.columns import Ints
from headrace.scheduler.chains import Chains
from headrace.scheduler.placing import Balance, Floats, choose_many

NO_HOST = -1
"""Of a chain that no host can take."""


class Demand(NamedTuple):
    """What is needed where. kind (n_tasks): what each task needs, by its kind. rates (kinds, hosts): how many tasks of a kind a host can
    execute at once; 0 where it has not what they need."""

    kind: Ids
    rates: Floats


def rates_of(needs: Needs, runners: Sequence[float], resources: Sequence[Resources]) -> Floats:
    """The rates of `Demand`, for hosts with so many runners and with these resources."""
    rows = [[_rate(need, *host) for host in zip(runners, resources, strict=True)] for need in needs.kinds]
    return np.array(rows, dtype=np.float64).reshape(len(needs.kinds), len(runners))


def _rate(need: Resources, runners: float, has: Resources) -> float:
    if not fits(need, has):
        return 0.0
    return min([runners, *(max(1.0, math.floor(has[name] / amount)) for name, amount in need.items())])


def cut(chains: Chains, kind: Ids) -> Chains:
    """The chains in pieces, each of one kind of tasks: as many chains in the same order, or more."""
    tasks = np.array(chains.tasks, dtype=np.int64)
    begins = np.zeros(len(tasks) + 1, dtype=np.bool_)
    begins[np.concatenate(([0], np.cumsum(chains.lengths)))] = True
    begins[1:-1] |= kind[tasks[1:]] != kind[tasks[:-1]]
    return Chains(np.diff(np.flatnonzero(begins)).tolist(), chains.tasks)


def choose_fit(
    costs: Floats, votes: Floats, kinds: Ints, rates: Floats, balance: Balance, ready: float, slack: float
) -> tuple[Ints, float]:
    """A host for each of some chains, as `choose_many`, or NO_HOST; and when all of them are done. What is placed is added to the balance.

    costs (n): seconds. votes (n, hosts): how much of its input is on each host. kinds (n): what each needs; those that few hosts can take
    choose first. rates: as in `Demand`.
    """
    chosen, done = np.full(len(costs), NO_HOST, dtype=np.int64), ready
    for kind in sorted(np.unique(kinds).tolist(), key=lambda kind: int(np.count_nonzero(rates[kind]))):
        able = np.flatnonzero(rates[kind])
        if not len(able):
            continue
        rows = np.flatnonzero(kinds == kind)
        part = Balance(rates[kind][able].tolist(), [balance.free[host] for host in able])
        shares, level = part.shares(float(costs[rows].sum()), ready)
        chosen[rows] = able[choose_many(costs[rows], votes[np.ix_(rows, able)], shares, slack)]
        balance.take(np.bincount(chosen[rows], costs[rows], len(balance.rates)).tolist(), ready)
        done = max(done, level, ready + float(costs[rows].max()))
    return chosen, done
