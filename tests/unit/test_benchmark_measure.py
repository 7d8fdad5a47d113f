"""What is measured on the benchmarks' graphs is checked, put in its row, and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import measure, report
from benchmarks.cpu import CpuClock, cgroup_cpu_seconds
from benchmarks.graphs import Case
from benchmarks.measure import Patience, Row
from benchmarks.peers import PEERS, Layout
from benchmarks.process import PeerFailed
from benchmarks.report import Figure

FLAT = Case("flat", (3,))
VALUES = [0, 1, 2]
TWICE = Patience(repeat=2)


class Scripted:
    """A peer whose runs take what its script says: seconds, or a failure."""

    started = 0.5

    def __init__(self, script: list[float | PeerFailed], values: list[Any] = VALUES) -> None:
        self.script = script
        self.values = values
        self.ran: list[Case] = []

    def run(self, case: Case, timeout: float) -> dict[str, Any]:
        self.ran.append(case)
        step = self.script.pop(0)
        if isinstance(step, PeerFailed):
            raise step
        return {"wall": step, "cpu": {"worker": 2 * step, "total": 3 * step}, "values": self.values}

    def peak(self) -> int | None:
        return 7_000_000

    def close(self) -> None:
        raise AssertionError("not for whoever takes turns")


def row(peer: str, walls: list[float] | None = None, graph: str = "flat") -> Row:
    return Row(graph, graph, peer, 3, 3, walls=walls or [])


def turns(*peers: tuple[str, Scripted], patience: Patience = TWICE, case: Case = FLAT) -> list[Row]:
    standing = [(row(name), peer) for name, peer in peers]
    measure.take_turns(case, standing, VALUES, patience)
    return [row for row, _ in standing]


def test_the_first_turn_does_not_count() -> None:
    (found,) = turns(("ray", Scripted([9.0, 1.0, 3.0])))
    assert found.walls == [1.0, 3.0]
    assert (found.wall, found.speed, found.peak) == (2.0, 1.5, 7_000_000)
    assert found.cpu == {"worker": 4.0, "total": 6.0}


def test_a_peer_that_fails_is_out_and_the_others_go_on() -> None:
    failing, good = Scripted([1.0, PeerFailed("> 60 s", "the end")]), Scripted([1.0, 1.0, 1.0])
    out, fine = turns(("ray", failing), ("dask", good))
    assert (out.failure, out.log, out.walls) == ("> 60 s", "the end", [])
    assert fine.walls == [1.0, 1.0]
    assert not failing.script


def test_a_peer_that_fails_to_warm_up_is_not_asked_again() -> None:
    (out,) = turns(("ray", Scripted([PeerFailed("ended")])))
    assert (out.failure, out.wall) == ("ended", None)


def test_a_slow_peer_stops_after_its_budget() -> None:
    (found,) = turns(("ray", Scripted([9.0, 9.0])), patience=Patience(repeat=5, budget=8.0))
    assert found.walls == [9.0]


def test_a_large_flat_graph_warms_up_with_a_smaller_one() -> None:
    large = Case("flat", (100_000,))
    peer = Scripted([1.0, 1.0], values=VALUES)
    turns(("ray", peer), patience=Patience(repeat=1), case=large)
    assert peer.ran == [Case("flat", (10_000,)), large]


def test_a_wrong_value_is_named() -> None:
    with pytest.raises(measure.WrongResult, match=r"ray on flat: output 2 is -1 where serial Python has 2"):
        turns(("ray", Scripted([1.0], values=[0, 1, -1])))
    with pytest.raises(measure.WrongResult, match="2 values where serial Python has 3"):
        measure.check("g", "p", [1, 2], VALUES)
    measure.check("g", "p", [1.0 + 1e-12], [1.0])


def test_round_trips_are_percentiles() -> None:
    trips = Row("latency", "latency", "ray", 100, 1, walls=[k / 1000 for k in range(1, 101)])
    assert trips.p99 == pytest.approx(0.099, abs=1e-4)
    assert "p99" in report.wall_text(trips)


def test_the_ratio_is_to_the_best_of_the_peers_on_the_same_graph() -> None:
    rows = [row("serial", [0.1]), row("headrace", [1.0]), row("dask", [8.0]), row("ray", [4.0]), row("ray", [1.0], graph="tree")]
    ratio = report.COLUMNS.index("x best peer")
    assert [report.cells(one, rows)[ratio] for one in rows] == ["", "4.00", "0.50", "1.00", "1.00"]
    assert report.cells(rows[1], rows[:2])[ratio] == ""


def test_a_failure_stands_where_the_time_would() -> None:
    out = row("cascade")
    out.failure = "> 60 s"
    assert report.wall_text(out) == "- (> 60 s)"


def test_cpu_is_told_by_role_without_what_does_not_count() -> None:
    assert report.cpu_text({"total": 1.0, "worker": 0.7, "client": 0.298, "other": 0.002}) == "1: worker 0.7, client 0.3"
    assert report.cpu_text({}) == ""


def test_markdown_has_a_line_for_each() -> None:
    text = report.markdown([row("ray", [1.0])], [Figure("idle cluster", "ray", 3.25, "% of a core", "over 5 s")])
    assert [line.count("|") for line in text.splitlines() if line] == [9, 9, 9, 6, 6, 6]
    assert "3.25" in text


def test_the_record_says_what_and_where() -> None:
    record = json.loads(report.to_json(report.as_record([row("ray", [1.0, 3.0])], [], Layout(1, 2))))
    assert record["cluster"] == {"hosts": 1, "runners": 2}
    timing = record["timings"][0]
    assert (timing["peer"], timing["wall"], timing["tasks_per_second"], timing["times_best_peer"]) == ("ray", 2.0, 1.5, 1.0)


def test_cpu_files_of_both_kinds_of_control_groups(tmp_path: Path) -> None:
    first, second = tmp_path / "cpuacct.usage", tmp_path / "cpu.stat"
    first.write_text("1500000000\n")
    second.write_text("usage_usec 1500000\nuser_usec 1\n")
    assert cgroup_cpu_seconds(first) == pytest.approx(1.5)
    assert cgroup_cpu_seconds(second) == pytest.approx(1.5)
    clock = CpuClock(dict, str(first))
    first.write_text("1750000000\n")
    assert clock.seconds() == {"total": pytest.approx(0.25)}


def test_names_come_with_commas_or_spaces() -> None:
    options = command.parse(["--graph", "flat,tree", "chain", "--peer", "headrace,serial"])
    assert (options.graph, options.peer) == (["flat", "tree", "chain"], ["headrace", "serial"])
    assert command.parse(["--small"]).peer == command.SMALL_PEERS


@pytest.mark.parametrize("wrong", [["--graph", "flatt"], ["--peer", "spark"], ["--small", "--graph", "transfer"]])
def test_wrong_names_end_the_program(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.parse(wrong)
    assert wrong[-1] in capsys.readouterr().err


def test_nobody_waits_for_round_trips_to_a_cluster_that_does_not_stand() -> None:
    assert command.fitting(list(PEERS), Case("latency", (3,))) == [name for name in PEERS if name != "cascade"]
    assert command.fitting(list(PEERS), FLAT) == list(PEERS)


def test_only_the_climatology_has_a_limit_and_only_at_full_size_of_its_fields() -> None:
    assert Case("climatology", (2_000,)).limit == 2_000_000_000
    assert Case("climatology", (50, 1000)).limit == 0
    assert FLAT.limit == 0
