"""Fusing and ordering: every task in one chain, chains are paths, the plan's order is topological; loops and numpy agree."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.graph.topology import Topology
from headrace.scheduler.chains import Chains, _fuse_few, _fuse_many, fuse
from headrace.scheduler.ranks import rank
from headrace_schemas import GraphSpec
from tests.scheduler_graphs import make_spec, parallel_chains, specs, topology_of, tree


def split(chains: Chains) -> list[list[int]]:
    found, start = [], 0
    for length in chains.lengths:
        found.append(chains.tasks[start : start + length])
        start += length
    assert start == len(chains.tasks)
    return found


def fused(spec: GraphSpec, longest: int = 1000) -> list[list[int]]:
    topology = topology_of(spec)
    return split(fuse(topology, rank(topology), longest))


def may_fuse(topology: Topology, maker: int, taker: int) -> bool:
    datasets = list(topology.outputs_of(maker))
    only = len(datasets) == 1 and not topology.is_output[datasets[0]]
    return only and topology.consumers_of(datasets[0]).tolist() == [taker]


@given(specs(), st.integers(1, 6))
def test_every_task_is_in_exactly_one_chain(spec: GraphSpec, longest: int) -> None:
    chains = fused(spec, longest)
    assert sorted(task for chain in chains for task in chain) == list(range(spec.n_tasks))
    assert max(map(len, chains)) <= longest


@given(specs())
def test_chains_are_valid(spec: GraphSpec) -> None:
    topology = topology_of(spec)
    for chain in fused(spec):
        assert all(may_fuse(topology, maker, taker) for maker, taker in pairwise(chain))
        assert not any(topology.is_generator[task] for task in chain[1:-1])


@given(specs(), st.integers(1, 6))
def test_the_plans_order_is_topological_between_chains(spec: GraphSpec, longest: int) -> None:
    topology = topology_of(spec)
    chain_of = {task: place for place, chain in enumerate(fused(spec, longest)) for task in chain}
    for task in range(spec.n_tasks):
        for dataset in topology.inputs_of(task).tolist():
            assert chain_of[int(topology.producer[dataset])] <= chain_of[task]


@given(specs())
def test_whatever_may_be_fused_is_fused(spec: GraphSpec) -> None:
    topology = topology_of(spec)
    chains = fused(spec)
    followed = {maker for chain in chains for maker, _ in pairwise(chain)}
    joined = {taker for chain in chains for _, taker in pairwise(chain)}
    for taker in set(range(spec.n_tasks)) - joined:
        for dataset in topology.inputs_of(taker).tolist():
            maker = int(topology.producer[dataset])
            if maker not in followed and may_fuse(topology, maker, taker):
                assert topology.is_generator[[maker, taker]].any()


@given(specs(), st.integers(1, 6))
def test_loops_and_numpy_agree(spec: GraphSpec, longest: int) -> None:
    topology = topology_of(spec)
    ranks = rank(topology)
    assert _fuse_few(topology, ranks, longest) == _fuse_many(topology, ranks, longest)


@given(specs())
def test_levels_are_longest_paths_and_urgency_never_falls(spec: GraphSpec) -> None:
    topology = topology_of(spec)
    level, urgency = rank(topology)
    for task in range(spec.n_tasks):
        makers = [int(topology.producer[dataset]) for dataset in topology.inputs_of(task)]
        assert level[task] == max([level[maker] + 1 for maker in makers], default=0)
        assert all(urgency[maker] <= urgency[task] for maker in makers)


def test_independent_sequences_are_one_chain_each() -> None:
    chains = fused(parallel_chains(5, 40))
    assert [len(chain) for chain in chains] == [40] * 5
    assert chains[2] == list(range(2, 200, 5))


@pytest.mark.parametrize("leaves", [64, 512])
def test_a_tree_is_fused_along_one_child_of_each_pair(leaves: int) -> None:
    chains = fused(tree(leaves))
    assert len(chains) == leaves
    assert max(map(len, chains)) == leaves.bit_length()


def test_an_accumulation_is_fused_along_the_sum_not_along_its_summands() -> None:
    n = 200
    rows: list[list[int]] = [[] for _ in range(n)] + [[0, 1]] + [[n + step, step + 2] for step in range(n - 2)]
    chains = fused(make_spec(rows))
    assert max(map(len, chains)) == n
    assert sum(len(chain) == 1 for chain in chains) == n - 1


def test_work_on_one_thing_after_the_other_though_the_graph_was_built_in_phases() -> None:
    """Fields first, then two statistics of each group of fields: a group's fields, its statistics, then the next group."""
    hours, days = 3, 4
    fields: list[list[int]] = [[] for _ in range(hours * days)]
    groups = [[hour + hours * day for day in range(days)] for hour in range(hours)]
    chains = fused(make_spec(fields + groups + groups))
    expected = [[*groups[hour], hours * days + hour, hours * days + hours + hour] for hour in range(hours)]
    assert [task for chain in chains for task in chain] == [task for group in expected for task in group]


def test_an_asked_for_dataset_ends_its_chain() -> None:
    assert fused(make_spec([[], [0], [1]], outputs=[1, 2])) == [[0, 1], [2]]


def test_a_generator_heads_or_ends_its_chain() -> None:
    spec = make_spec([[], [0], [1], [2]], function=[0, 0, 1, 0])
    assert fused(spec) == [[0, 1], [2, 3]]
