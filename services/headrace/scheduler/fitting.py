"""Placement of tasks that need resources: on hosts that have these, and in proportion to their amounts.

Chains are cut where the needs of their tasks change, so that all tasks of a chain need the same. So a chain does not hold a GPU for tasks
that any host can run, and these tasks may go to any host.
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
"""Stands for the host of a chain that no host can run."""


class Demand(NamedTuple):
    """The needs of tasks, and what hosts offer.

    kind: for each task, the kind of its needs; shape (n_tasks). rates: the number of tasks of a kind that a host can execute at a time, 0
    if it lacks the resources; shape (kinds, hosts).
    """

    kind: Ids
    rates: Floats


def rates_of(needs: Needs, runners: Sequence[float], resources: Sequence[Resources]) -> Floats:
    """Compute the rates of `Demand` for hosts with these numbers of runners and these resources."""
    rows = [[_rate(need, *host) for host in zip(runners, resources, strict=True)] for need in needs.kinds]
    return np.array(rows, dtype=np.float64).reshape(len(needs.kinds), len(runners))


def _rate(need: Resources, runners: float, has: Resources) -> float:
    if not fits(need, has):
        return 0.0
    return min([runners, *(max(1.0, math.floor(has[name] / amount)) for name, amount in need.items())])


def cut(chains: Chains, kind: Ids) -> Chains:
    """Cut chains where the kind of their tasks changes. The order stays."""
    tasks = np.array(chains.tasks, dtype=np.int64)
    begins = np.zeros(len(tasks) + 1, dtype=np.bool_)
    begins[np.concatenate(([0], np.cumsum(chains.lengths)))] = True
    begins[1:-1] |= kind[tasks[1:]] != kind[tasks[:-1]]
    return Chains(np.diff(np.flatnonzero(begins)).tolist(), chains.tasks)


def choose_fit(
    costs: Floats, votes: Floats, kinds: Ints, rates: Floats, balance: Balance, ready: float, slack: float
) -> tuple[Ints, float]:
    """Choose a host for each chain, as `choose_many` does, or NO_HOST. Return the hosts, and the time at which all chains are done.

    The chains are added to the balance. Kinds that few hosts can run choose first. costs: seconds of each chain; shape (n). votes: the
    amount of its inputs on each host; shape (n, hosts). kinds: the kind of its needs; shape (n). rates: as in `Demand`.
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
        balance.add_work(np.bincount(chosen[rows], costs[rows], len(balance.rates)).tolist(), ready)
        done = max(done, level, ready + float(costs[rows].max()))
    return chosen, done
