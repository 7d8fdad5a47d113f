"""The benchmarks' graphs are the ones they claim to be, and what is measured on them is checked and reported."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import graphs, measure, report
from benchmarks.graphs import GRAPHS, TaskList
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
    graph = GRAPHS[name].make(GRAPHS[name].n)
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


class Wrong(Serial):
    """A peer that gets the last value wrong."""

    name = "wrong"

    def run(self, graph: TaskList) -> list[Any]:
        return [*super().run(graph)[:-1], -1]

    def round_trip(self, function: Callable[..., Any], *args: Any) -> Any:
        return -1


class Second(Serial):
    """A peer that is right, and notes its turns."""

    name = "second"


def test_a_wrong_value_is_named() -> None:
    with pytest.raises(measure.WrongResult, match=r"wrong on flat: output 4 is -1 where serial Python has 4"):
        measure.time_graph("flat", 5, graphs.flat(5), [Serial(), Wrong()], repeat=1)
    with pytest.raises(measure.WrongResult, match="latency"):
        measure.time_latency(1, [Serial(), Wrong()], repeat=1)
    with pytest.raises(measure.WrongResult, match="2 values where serial Python has 3"):
        measure.check("g", "p", [1, 2], [1, 2, 3])


def test_peers_take_turns_and_the_first_turn_does_not_count() -> None:
    turns: list[str] = []

    def run(peer: measure.Peer) -> list[float]:
        turns.append(peer.name)
        return [float(len(turns))]

    walls = measure.alternate([Serial(), Second()], 2, run)
    assert turns == ["serial", "second"] * 3
    assert walls == {"serial": [3.0, 5.0], "second": [4.0, 6.0]}


def test_timings_are_medians() -> None:
    timing = measure.Timing("flat", "serial", 10, 10, [4.0, 1.0, 2.0])
    assert (timing.wall, timing.speed) == (2.0, 5.0)


def test_the_command_prints_a_table_and_writes_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def open_second(hosts: int, runners: int) -> Iterator[Second]:
        assert (hosts, runners) == (3, 2)
        yield Second()

    openers = command.openers() | {"second": open_second}
    monkeypatch.setattr(command, "openers", lambda: openers)
    path = tmp_path / "timings.json"
    options = ["--graph", "tree", "latency", "--n", "8", "--hosts", "3", "--runners", "2", "--peers", "second", "--json", str(path)]
    assert command.main(options) == 0
    printed = capsys.readouterr().out
    assert "tree" in printed
    assert "p99" in printed
    record = json.loads(path.read_text())
    assert [(timing["graph"], timing["peer"], timing["tasks"]) for timing in record["timings"]] == [
        ("tree", "serial", 15),
        ("tree", "second", 15),
        ("latency", "serial", 1),
        ("latency", "second", 1),
    ]
    assert len(record["timings"][0]["walls"]) == 3
    assert len(record["timings"][2]["walls"]) == 3 * 8


def test_the_ratio_is_to_serial_python_on_the_same_graph() -> None:
    timings = [
        measure.Timing("flat", "serial", 1, 1, [2.0]),
        measure.Timing("tree", "serial", 1, 1, [5.0]),
        measure.Timing("tree", "second", 1, 1, [10.0]),
    ]
    assert list(report.throughput_table(timings).columns[-1].cells) == ["1.00", "1.00", "2.00"]
