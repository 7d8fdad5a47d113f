"""The benchmarks' graphs are the ones they claim to be."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from benchmarks import graphs
from benchmarks.graphs import GRAPHS, TaskList
from benchmarks.peers.headrace import CHUNK, IN_PLACE
from benchmarks.peers.serial import Serial


@pytest.mark.parametrize(
    ("name", "tasks", "outputs"),
    [
        ("flat", 10_000, 10_000),
        ("tree", 16_383, 1),
        ("chain", 2_000, 1),
        ("chains", 10_000, 50),
        ("layers", 10_000, 500),
        ("ensemble", 480, 40),
        ("fanout", 33, 32),
    ],
)
def test_default_sizes(name: str, tasks: int, outputs: int) -> None:
    graph = graphs.cases(name)[-1 if name != "flat" else 1].build()
    assert (len(graph.calls), len(graph.outputs)) == (tasks, outputs)


@pytest.mark.parametrize("name", GRAPHS)
def test_calls_only_take_values_of_earlier_ones(name: str) -> None:
    graph = GRAPHS[name].make(6)
    assert all(index < position for position, call in enumerate(graph.calls) for index in call.inputs())


def test_cheap_graphs_compute_what_they_say() -> None:
    serial = Serial()
    assert serial.run(graphs.flat(5)) == [0, 1, 2, 3, 4]
    assert serial.run(graphs.tree(13)) == [13]
    assert serial.run(graphs.chain(7)) == [7]
    assert serial.run(graphs.chains(7, count=3)) == [7, 7, 7]
    assert serial.run(graphs.layers(10, depth=4)) == [27] * 10
    assert serial.run(graphs.fanout(2, size=10_000)) == [0 + 4096 + 8192] * 2


@pytest.mark.parametrize("size", [0, 5, CHUNK, 3 * CHUNK + 7])
def test_what_is_written_differently_for_headrace_gives_the_same(size: int) -> None:
    for function, in_place in IN_PLACE.items():
        ours, theirs = in_place(size), function(size)
        assert (ours.dtype, ours.tolist()) == (theirs.dtype, theirs.tolist())


def test_layers_are_the_same_every_time_and_take_three_different_inputs() -> None:
    first, second = graphs.layers(50), graphs.layers(50)
    assert [call.inputs() for call in first.calls] == [call.inputs() for call in second.calls]
    assert all(len(set(call.inputs())) == 3 for call in first.calls[50:])


def test_ensemble_statistics_are_those_of_numpy() -> None:
    size, sources = 1000, 50
    fields = np.array([np.random.default_rng(seed).standard_normal(size) for seed in range(sources)])
    expected = [fields.mean(), fields.std(axis=0).mean(), *((fields > threshold).mean() for threshold in graphs.THRESHOLDS)]
    np.testing.assert_allclose(Serial().run(graphs.ensemble(1, sources, size)), expected, rtol=1e-9)


def test_serial_drops_a_value_after_its_last_use() -> None:
    class Value:
        pass

    seen: list[weakref.ref[Value]] = []

    def make() -> Value:
        value = Value()
        seen.append(weakref.ref(value))
        return value

    graph = TaskList()
    made = graph.add(make)
    graph.add(id, made)
    Serial().run(graph.ask([graph.add(lambda: seen[0]())]))
    assert seen[0]() is None
    assert Serial().run(graph) == [None]


def test_the_climatology_is_that_of_numpy() -> None:
    count, size = 45, 100
    fields = np.array([np.random.default_rng(seed).standard_normal(size) for seed in range(count)])
    expected = np.sqrt(((fields - fields.mean(axis=0)) ** 2).mean(axis=1))
    np.testing.assert_allclose(Serial().run(graphs.climatology(count, size)), expected, rtol=1e-9)


def test_no_task_of_the_climatology_takes_more_than_a_group_of_fields() -> None:
    calls = graphs.climatology(2_000).calls
    assert max(len(call.inputs()) for call in calls) == graphs.CLIMATE_GROUP
    assert len(calls) == 2_000 + 100 + 5 + 1 + 1 + 2_000


def test_cases_are_the_known_sizes_or_the_one_asked_for() -> None:
    assert [case.label for case in graphs.cases("flat")] == ["flat 1,000", "flat 10,000", "flat 100,000"]
    assert graphs.cases("flat", 7) == [graphs.Case("flat", (7,))]
    assert graphs.cases("ensemble", small=True) == [graphs.Case("ensemble", GRAPHS["ensemble"].small)]
    assert graphs.cases("latency") == [graphs.Case("latency", (graphs.LATENCY_TRIPS,))]
