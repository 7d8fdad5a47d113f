"""Which hosts the cluster goes on without where hosts cannot reach one another."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from headrace.controller.cuts import Cuts
from headrace.controller.settings import Limits
from headrace.ledger import Hosts
from headrace_schemas import Ended, Events, HostJoined, HostLost
from tests.unit.test_controller_unschedulable import Log, on_gpu

LIMITS = Limits()


def hosts_called(names: str) -> Hosts:
    hosts = Hosts()
    for name in names:
        hosts.fold_joined(joined(name))
    return hosts


def joined(name: str, epoch: int = 1) -> HostJoined:
    return HostJoined(at=0, term=1, host=name, epoch=epoch, address="", runners=1, capacity=1)


def lost(name: str) -> HostLost:
    return HostLost(at=0, term=1, host=name, epoch=1)


def says(name: str, others: str, epoch: int = 1) -> Events:
    return Events(job="j", host=name, epoch=epoch, unreachable=list(others))


def lost_of(names: str, *said: tuple[str, str]) -> list[tuple[str, list[str]]]:
    """What follows if hosts say so: pairs of a host and those that it cannot reach."""
    cuts, hosts = Cuts(LIMITS), hosts_called(names)
    for name, others in said:
        cuts.note_report(says(name, others), 0.0, hosts)
    return cuts.take_lost(1.0, hosts)


def test_of_two_the_one_that_the_other_cannot_reach_is_lost() -> None:
    assert lost_of("ab", ("a", "b")) == [("b", ["a"])]
    assert lost_of("ab", ("b", "a")) == [("a", ["b"])]


def test_of_two_that_cannot_reach_each_other_one_is_lost() -> None:
    assert lost_of("ab", ("a", "b"), ("b", "a")) == [("b", ["a"])]


def test_of_more_the_one_that_lost_touch_with_two_others_is_lost_whoever_says_it() -> None:
    for said in [[("a", "b"), ("c", "b")], [("b", "ac")], [("a", "b"), ("b", "c")]]:
        assert lost_of("abcd", *said) == [("b", ["a", "c"])]


def test_a_path_between_two_of_more_is_no_reason_to_lose_one() -> None:
    assert lost_of("abc", ("a", "b"), ("b", "a")) == []


def test_of_two_halves_one_goes_on() -> None:
    assert lost_of("abcd", ("a", "cd"), ("b", "cd"), ("c", "ab")) == [("d", ["a", "b"]), ("c", ["a", "b"])]


def test_what_was_said_long_ago_of_another_epoch_or_of_a_host_that_is_gone_does_not_count() -> None:
    cuts, hosts = Cuts(LIMITS), hosts_called("ab")
    cuts.note_report(says("a", "b"), 0.0, hosts)
    assert cuts.take_lost(LIMITS.cut_seconds + 0.1, hosts) == []
    cuts.note_report(says("a", "b", epoch=7), 20.0, hosts)
    assert cuts.take_lost(20.0, hosts) == []
    cuts.note_report(says("a", "b"), 20.0, hosts)
    cuts.drop_reports(joined("b", epoch=2), 20.0)
    assert cuts.take_lost(20.0, hosts) == []
    cuts.note_report(says("a", "bz"), 20.0, hosts)
    hosts.fold_lost(lost("b"))
    cuts.drop_reports(lost("b"), 20.0)
    assert cuts.take_lost(20.0, hosts) == []


def test_what_is_said_of_a_host_just_after_it_joined_is_about_its_last_epoch() -> None:
    cuts, hosts = Cuts(LIMITS), hosts_called("ab")
    cuts.drop_reports(joined("b"), 10.0)
    cuts.note_report(says("a", "b"), 10.0 + LIMITS.fresh_host_seconds / 2, hosts)
    assert cuts.take_lost(11.0, hosts) == []
    cuts.note_report(says("a", "b"), 10.0 + LIMITS.fresh_host_seconds, hosts)
    assert cuts.take_lost(12.0, hosts) == [("b", ["a"])]


def test_each_is_lost_once() -> None:
    cuts, hosts = Cuts(LIMITS), hosts_called("ab")
    cuts.note_report(says("a", "b"), 0.0, hosts)
    assert cuts.take_lost(0.0, hosts) == [("b", ["a"])]
    assert cuts.take_lost(0.0, hosts) == []


@given(st.integers(2, 6), st.data())
def test_one_host_stays_and_those_that_stay_were_not_told_to_be_apart(n: int, data: st.DataObject) -> None:
    names = "abcdef"[:n]
    pairs = data.draw(st.lists(st.sampled_from([(x, y) for x in names for y in names if x != y]), unique=True))
    gone = {name for name, _ in lost_of(names, *pairs)}
    left = [name for name in names if name not in gone]
    assert left
    apart = {frozenset(pair) for pair in pairs}
    for name in left:
        touches = [frozenset(pair) in apart for pair in combinations(left, 2) if name in pair]
        assert sum(touches) < min(2, max(1, len(left) - 1))


def test_the_controller_writes_it_down_and_what_the_host_had_is_needed_again() -> None:
    log = Log()
    log.join("a", gpu=1)
    log.join("b", gpu=1)
    log.admit(on_gpu())
    log.place(b=[[0]], a=[[1]])
    log.hear("b", chains=[0], produced=[0], sizes=[1])
    assert log.controller.cut_off() == []
    assert log.hear("a", unreachable=["b"]) == []
    [message] = log.controller.cut_off()
    assert (message.host, message.epoch, message.cut, message.reason) == ("b", 1, True, "no link between it and a")
    [needed] = log.tell(message)
    assert not isinstance(needed, Ended)
    assert needed.tasks == [0]
    assert log.controller.cut_off() == []
