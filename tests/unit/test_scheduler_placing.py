"""Placement: shares by water-filling, locality within them; loops and numpy agree; the shapes that matter are balanced."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.graph.topology import Topology
from headrace.scheduler import wave_plan
from headrace.scheduler.placing import Balance, choose_few, choose_many
from headrace.scheduler.ranks import rank
from headrace.scheduler.wave_plan import Costs, Placed, Waves, fuse, plan
from headrace_schemas import GraphSpec
from tests.scheduler_graphs import flat, layers, make_spec, parallel_chains, specs, topology_of, tree

HOSTS = st.integers(1, 5)
SECONDS = st.integers(0, 40).map(lambda n: n / 4)


@given(st.lists(st.tuples(st.integers(1, 4), SECONDS), min_size=1, max_size=6), SECONDS, SECONDS)
def test_shares_add_up_and_those_that_share_finish_together(hosts: list[tuple[int, float]], work: float, ready: float) -> None:
    balance = Balance([rate for rate, _ in hosts], [free for _, free in hosts])
    shares, level = balance.shares(work, ready)
    assert sum(shares) == pytest.approx(work, abs=1e-9)
    for (rate, free), share in zip(hosts, shares, strict=True):
        start = max(free, ready)
        assert start + share / rate == pytest.approx(level) if share else start >= level - 1e-9


@st.composite
def waves(draw: st.DrawFn) -> tuple[list[float], list[list[float]], list[float], float]:
    n_hosts, n = draw(HOSTS), draw(st.integers(1, 25))
    costs = [float(c) for c in draw(st.lists(st.integers(1, 4), min_size=n, max_size=n))]
    row = st.lists(st.integers(0, 3).map(float), min_size=n_hosts, max_size=n_hosts)
    votes = draw(st.lists(row, min_size=n, max_size=n))
    free = [float(f) for f in draw(st.lists(st.integers(0, 30), min_size=n_hosts, max_size=n_hosts))]
    return costs, votes, Balance([1.0] * n_hosts, free).shares(sum(costs), 0.0)[0], draw(st.sampled_from([0.0, 0.5, 2.0]))


@given(waves())
def test_loops_and_numpy_choose_the_same(wave: tuple[list[float], list[list[float]], list[float], float]) -> None:
    costs, votes, shares, slack = wave
    assert choose_few(costs, votes, shares, slack) == choose_many(np.array(costs), np.array(votes), shares, slack).tolist()


@given(waves())
def test_no_host_exceeds_its_share_by_more_than_slack_and_a_chain(wave: tuple[list[float], list[list[float]], list[float], float]) -> None:
    costs, votes, shares, slack = wave
    placed = choose_few(costs, votes, shares, slack)
    loads = np.bincount(placed, costs, len(shares))
    # Rounding by halves of a chain may add up once for the preferred and once for the others, which take what the former left.
    assert all(load <= share + 2 * (slack + max(costs)) * len(shares) + 1e-9 for load, share in zip(loads, shares, strict=True))


@given(specs(), HOSTS)
def test_planning_by_loops_and_by_numpy_agree(spec: GraphSpec, hosts: int) -> None:
    topology = topology_of(spec)
    ranks = rank(topology)
    found = Waves(topology, fuse(topology, ranks, 8), np.array(ranks.level), Costs())
    few, many = Balance([1.0] * hosts), Balance([1.0] * hosts)
    placed_by_loops, span_by_loops = wave_plan._place_few(found, few, 0.5)
    placed_by_numpy, span_by_numpy = wave_plan._place_many(found, many, 0.5)
    assert placed_by_loops == placed_by_numpy
    assert span_by_loops == pytest.approx(span_by_numpy)  # the two add in different orders
    assert few.free == pytest.approx(many.free)


@given(specs(), HOSTS)
def test_a_wave_takes_only_from_earlier_ones(spec: GraphSpec, hosts: int) -> None:
    topology = topology_of(spec)
    ranks = rank(topology)
    waves = Waves(topology, fuse(topology, ranks, 8), np.array(ranks.level), Costs())
    wave_of = np.repeat(np.arange(waves.count), np.diff(waves.start))
    by_chain = dict(zip(waves.chains.tolist(), wave_of.tolist(), strict=True))
    for place, (first, last) in enumerate(pairwise(waves.row_start.tolist())):
        before = [by_chain[maker] for maker in waves.maker[first:last].tolist()]
        assert max(before, default=-1) == waves.latest[place] < wave_of[place]


def placed_tasks(spec: GraphSpec, hosts: int = 2) -> tuple[Topology, Placed, np.ndarray]:
    topology = topology_of(spec)
    placed = plan(topology, Balance([1.0] * hosts), Costs(), 1024)
    host = np.empty(spec.n_tasks, dtype=int)
    host[placed.tasks] = np.repeat(placed.placed, placed.lengths)
    return topology, placed, host


@pytest.mark.parametrize("hosts", [2, 4])
def test_every_layer_is_shared_out_evenly(hosts: int) -> None:
    """Also the tasks, though some chains are longer than others."""
    _, _, host = placed_tasks(layers(), hosts)
    for layer in range(20):
        counts = np.bincount(host[layer * 500 : (layer + 1) * 500], minlength=hosts)
        assert counts == pytest.approx([500 / hosts] * hosts, abs=25)


def test_layers_keep_most_inputs_where_they_are() -> None:
    topology, _, host = placed_tasks(layers())
    takers = np.repeat(np.arange(topology.n_tasks), topology.n_inputs)
    moved = (host[takers] != host[topology.producer[topology.inputs]]).mean()
    assert moved < 0.3  # half of them, if tasks were placed without a look at their inputs


def test_subtrees_stay_on_one_host() -> None:
    topology, _, host = placed_tasks(tree())
    takers = np.repeat(np.arange(topology.n_tasks), topology.n_inputs)
    moved = host[takers] != host[topology.producer[topology.inputs]]
    assert moved.sum() <= 2
    assert np.bincount(host).tolist() == pytest.approx([8192, 8191], abs=14)
    assert (np.diff(host[:8192]) != 0).sum() == 1


@pytest.mark.parametrize("spec", [parallel_chains(100, 10), flat(1000)], ids=["chains", "flat"])
def test_what_is_independent_is_spread_in_contiguous_runs(spec: GraphSpec) -> None:
    _, placed, host = placed_tasks(spec, 4)
    assert np.bincount(host).tolist() == [250] * 4
    assert placed.placed == sorted(placed.placed)


def test_hosts_with_more_runners_get_more() -> None:
    placed = plan(topology_of(flat(90)), Balance([1.0, 2.0]), Costs(), 1024)
    assert np.bincount(placed.placed).tolist() == [30, 60]


def test_busy_hosts_get_less() -> None:
    placed = plan(topology_of(flat(10)), Balance([1.0, 1.0], [6.0, 0.0]), Costs(), 1024)
    assert np.bincount(placed.placed).tolist() == [2, 8]
    assert plan(topology_of(flat(1)), Balance([1.0, 1.0], [1.0, 0.0]), Costs(), 1024).placed == [1]


def test_narrow_ladders_neither_drift_nor_move() -> None:
    """Ten lanes that take from their neighbours: half of the lanes on each host, for a thousand steps."""
    rows = [[] if t < 10 else [t - 10, (t // 10 - 1) * 10 + (t + 1) % 10] for t in range(10_000)]
    _, _, host = placed_tasks(make_spec(rows))
    assert np.bincount(host).tolist() == pytest.approx([5000, 5000], rel=0.02)


def test_what_depends_on_a_long_task_is_spread_all_the_same() -> None:
    """While one host runs it the other is free, but cannot begin what follows: that is shared evenly."""
    rows: list[list[int]] = [[], *([0] for _ in range(100))]
    spec = make_spec(rows, function=[1] + [0] * 100)
    placed = plan(topology_of(spec), Balance([1.0, 1.0]), Costs(function_seconds=(1.0, 100.0), transfer_seconds=0), 1024)
    assert np.bincount(placed.placed[1:]).tolist() == [50, 50]
    assert placed.makespan == pytest.approx(150)


def test_inputs_weigh_by_size() -> None:
    """The last task goes where the large dataset is, not where the many are."""
    spec = make_spec([[], [], [], [], [0, 1, 2, 3]], outputs=[0, 1, 2, 3, 4])
    sizes = Costs(dataset_bytes=(1e6, 1, 1, 1, 1), transfer_seconds=2)
    by_number = plan(topology_of(spec), Balance([1.0, 3.0]), Costs(transfer_seconds=2), 1)
    by_size = plan(topology_of(spec), Balance([1.0, 3.0]), sizes, 1)
    assert by_number.placed == [0, 1, 1, 1, 1]
    assert by_size.placed == [0, 1, 1, 1, 0]
