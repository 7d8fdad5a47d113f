"""Which hosts a host asks for what: those that have it or make it, as the log says last, and none that is lost."""

from __future__ import annotations

from headrace.link import frames
from headrace.runner import protocol
from headrace.worker.agent import actions
from headrace.worker.agent.events import (
    HostConnected,
    HostUnreachable,
    LinksDue,
    LogRead,
    Offered,
    PeerCame,
    RunnerSent,
    RunnerStarted,
    Tick,
    ValuesReceived,
    Wanted,
)
from headrace.worker.agent.relays import PeerHost
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings
from headrace_schemas import Assign, Events, HostJoined, HostLost, Purge, Reroute
from headrace_shm import Store
from tests.unit.worker_world import EPOCH, graph_of

PEER = 4


def agent_with(inputs: list[list[int]], tasks: list[int], sources: list[int], **settings: float) -> Agent:
    """Host h0 with one runner and some tasks of a job; hosts a (1) and b (2) have the rest. The first action is to connect to a."""
    agent = Agent(Settings(host="h0", **settings), EPOCH, Store(1 << 20, 1 << 23))  # type: ignore[arg-type]
    agent.handle(RunnerStarted(0))
    agent.assignments.assign(assign(tasks, sources), graph_of(inputs, [len(inputs) - 1]))
    agent.handle(PeerCame(PEER, PeerHost("b", EPOCH, "b:1")))
    return agent


def assign(tasks: list[int], sources: list[int], first: int = 0, attempt: int = 0) -> Assign:
    return Assign(
        at=1, term=1, job="job", host="h0", epoch=EPOCH, hosts=["h0", "a", "b"], addresses=["h0:1", "a:1", "b:1"],
        chains=[first + k for k in range(len(tasks))], lengths=[1] * len(tasks), tasks=tasks,
        attempts=[attempt] * len(tasks) if attempt else [], sources=sources, again=attempt > 0,
    )  # fmt: skip


def reroute(dataset: int, source: str, attempt: int = 0, address: str = "a:1") -> Reroute:
    hosts = ["h0", "a", "b"]
    return Reroute(
        at=1, term=1, job="job", host="h0", epoch=EPOCH, hosts=hosts, addresses=["h0:1", address, "b:1"], datasets=[dataset],
        attempts=[attempt] if attempt else [], sources=[hosts.index(source)],
    )  # fmt: skip


def purge(*datasets: int) -> Purge:
    return Purge(at=1, term=1, job="job", host="h0", epoch=EPOCH, datasets=list(datasets))


def lost(host: str, epoch: int = 1) -> HostLost:
    return HostLost(at=1, term=1, host=host, epoch=epoch)


def joined(host: str, epoch: int, *, again: bool = False) -> HostJoined:
    return HostJoined(at=1, term=1, host=host, epoch=epoch, address="a:2", runners=1, capacity=1, again=again)


def ran(agent: Agent, *tasks: int) -> None:
    """The runner executes tasks, each a segment, and their datasets are small."""
    agent.take()
    for task in tasks:
        [segment] = [id for id, segment in agent.runners.slots[0].outstanding.items() if segment.tasks == [task]]
        agent.handle(RunnerSent(0, [protocol.Results(1, segments=[segment], datasets=[task], values=[b"value"], tasks=[task])]))
        agent.take()


def said(agent: Agent) -> list[Events]:
    return [report.events for report in agent.reports_due() if isinstance(report, actions.Report)]


def connects(agent: Agent) -> list[tuple[str, str]]:
    return [(action.host, action.address) for action in agent.take() if isinstance(action, actions.Connect)]


def asked(agent: Agent) -> list[tuple[str, list[int], list[int]]]:
    wants = [(action.host, action.frame) for action in agent.take() if isinstance(action, actions.ToHost)]
    return [(host, frame.datasets, frame.attempts) for host, frame in wants if isinstance(frame, frames.Want)]


def told_peers(agent: Agent) -> list[frames.Frame]:
    return [action.frame for action in agent.take() if isinstance(action, actions.ToPeer)]


def out_of_reach(agent: Agent, seconds: float) -> list[Events]:
    """Every link to a fails for a time. Returns what was reported."""
    found, now = [], 0.0
    while now <= seconds:
        agent.handle(Tick(now, [None]))
        for _ in connects(agent):
            agent.handle(HostUnreachable("a"))
        agent.handle(LinksDue())
        found += said(agent)
        now += 0.5
    return found


def test_a_host_that_cannot_be_reached_is_reported_now_and_then_and_what_waits_for_it_fails_at_last() -> None:
    agent = agent_with([[], [0]], [1], [1], unreachable_seconds=2.0, give_up_seconds=5.0)
    found = out_of_reach(agent, 6.0)
    assert [events.unreachable for events in found if events.unreachable] == [["a"], ["a"]]
    [error] = [error for events in found for error in events.failed]
    assert (error.task, error.reason) == (1, "unreachable")
    assert "a:1" in error.error


def test_what_is_assigned_after_that_has_the_whole_time_again() -> None:
    agent = agent_with([[], [0]], [1], [1], unreachable_seconds=2.0, give_up_seconds=5.0)
    assert [error.task for events in out_of_reach(agent, 6.0) for error in events.failed] == [1]
    agent.handle(Tick(7.0, [None]))
    agent.handle(LinksDue())
    agent.assignments.assign(assign([1], [1], first=1, attempt=1), None)
    assert connects(agent) == [("a", "a:1")]
    agent.handle(HostUnreachable("a"))
    agent.handle(Tick(8.0, [None]))
    agent.handle(LinksDue())
    assert [events.failed for events in said(agent)] == []


def test_all_that_wait_for_such_a_host_fail_also_where_inputs_go_with_their_last_task() -> None:
    agent = agent_with([[], [], [0, 1], [0], [1]], [2, 3, 4], [2, 1, 2, 1], unreachable_seconds=2.0, give_up_seconds=5.0)
    agent.take()
    agent.handle(HostConnected("b", EPOCH))
    agent.handle(HostUnreachable("a"))
    agent.handle(ValuesReceived("b", frames.Values("job", [0], [0], [5]), memoryview(b"value")))
    assert sorted(error.task for events in out_of_reach(agent, 6.0) for error in events.failed) == [2, 4]


def test_a_host_that_is_lost_is_not_tried_and_what_was_asked_of_it_waits_for_its_new_source() -> None:
    agent = agent_with([[], [0]], [1], [1])
    assert connects(agent) == [("a", "a:1")]
    agent.handle(LogRead([lost("a")]))
    agent.handle(HostUnreachable("a"))
    assert out_of_reach(agent, agent.settings.orphan_seconds - 1) == []
    agent.handle(LogRead([reroute(0, "b", attempt=1)]))
    assert connects(agent) == [("b", "b:1")]
    agent.handle(HostConnected("b", EPOCH))
    assert asked(agent) == [("b", [0], [1])]


def test_nor_is_one_that_an_order_names_that_was_given_before_its_loss_was_known() -> None:
    agent = agent_with([[], [0]], [], [])
    agent.handle(LogRead([lost("a")]))
    agent.assignments.assign(assign([1], [1]), None)
    assert connects(agent) == []
    agent.handle(LogRead([joined("a", 2)]))
    agent.handle(LogRead([reroute(0, "a", address="a:2")]))
    assert connects(agent) == [("a", "a:2")]


def test_what_a_host_was_asked_for_before_it_started_anew_is_not_asked_of_it_again() -> None:
    agent = agent_with([[], [0]], [1], [1])
    agent.take()
    agent.handle(HostConnected("a", 1))
    assert asked(agent) == [("a", [0], [0])]
    agent.handle(LogRead([joined("a", 2)]))
    assert actions.Disconnect("a") in agent.take()
    agent.handle(HostUnreachable("a"))
    agent.handle(LinksDue())
    assert agent.take() == []


def test_what_a_host_is_asked_for_stays_when_the_log_says_again_that_it_joined() -> None:
    agent = agent_with([[], [0]], [1], [1])
    agent.take()
    agent.handle(HostConnected("a", 1))
    assert asked(agent) == [("a", [0], [0])]
    agent.handle(LogRead([joined("a", 1, again=True)]))
    assert agent.take() == []
    agent.handle(LogRead([joined("a", 2)]))
    assert actions.Disconnect("a") in agent.take()


def test_a_dataset_without_a_source_is_reported_until_it_has_one() -> None:
    agent = agent_with([[], [0]], [1], [1])
    agent.take()
    agent.handle(LogRead([lost("a")]))
    found = out_of_reach(agent, 2 * agent.settings.orphan_seconds + 1)
    assert [events.gone for events in found] == [[0], [0]]
    agent.handle(LogRead([reroute(0, "b")]))
    agent.handle(Tick(4 * agent.settings.orphan_seconds, [None]))
    agent.handle(LinksDue())
    assert said(agent) == []


def test_a_reroute_to_whom_it_was_asked_of_anyway_changes_nothing() -> None:
    agent = agent_with([[], [0]], [1], [1])
    agent.take()
    agent.handle(HostConnected("a", EPOCH))
    agent.take()
    agent.handle(Offered("a", frames.Offer("job", [0], [0], [50_000])))
    agent.take()
    agent.handle(LogRead([reroute(0, "a")]))
    assert agent.take() == []
    assert agent.grants.transfers == 1


def dropped(agent: Agent, dataset: int) -> None:
    """A dataset is made here, and dropped."""
    ran(agent, dataset)
    agent.handle(LogRead([purge(dataset)]))
    said(agent)


def test_what_was_dropped_and_is_to_be_made_here_again_is_not_gone() -> None:
    agent = agent_with([[], [0]], [0], [])
    dropped(agent, 0)
    agent.assignments.assign(assign([0], [], first=1, attempt=1), None)
    agent.handle(Wanted(PEER, frames.Want("job", [0], [0], "b:1")))
    assert told_peers(agent) == []
    ran(agent, 0)
    agent.take()
    assert [events.gone for events in said(agent)] == [[]]


def test_nor_what_is_to_be_made_as_an_attempt_that_the_peer_was_told_of() -> None:
    agent = agent_with([[], [0]], [0], [])
    dropped(agent, 0)
    agent.handle(Wanted(PEER, frames.Want("job", [0], [1], "b:1")))
    assert told_peers(agent) == []
    agent.assignments.assign(assign([0], [], first=1, attempt=1), None)
    agent.take()
    agent.handle(RunnerSent(0, [protocol.Results(1, segments=[2], datasets=[0], values=[b"again"], tasks=[0])]))
    assert told_peers(agent) == [frames.Values("job", [0], [1], [5])]


def test_what_was_dropped_for_good_is_gone_and_the_log_is_told() -> None:
    agent = agent_with([[], [0]], [0], [])
    dropped(agent, 0)
    agent.handle(Wanted(PEER, frames.Want("job", [0], [0], "b:1")))
    assert told_peers(agent) == [frames.Gone("job", [0])]
    assert [events.gone for events in said(agent)] == [[0]]


def test_what_is_made_here_stays_for_others_though_another_host_was_asked_for_it_first() -> None:
    agent = agent_with([[], [0], [0]], [1], [1])
    agent.take()
    agent.assignments.assign(assign([0], [], first=1, attempt=1), None)
    ran(agent, 0)
    ran(agent, 1)
    agent.handle(Wanted(PEER, frames.Want("job", [0], [0], "b:1")))
    assert told_peers(agent) == [frames.Values("job", [0], [1], [5])]


def test_also_if_the_other_host_was_faster() -> None:
    agent = agent_with([[], [0], [0]], [1], [1])
    agent.take()
    agent.handle(HostConnected("a", EPOCH))
    agent.take()
    agent.assignments.assign(assign([0], [], first=1, attempt=1), None)
    agent.take()
    agent.handle(ValuesReceived("a", frames.Values("job", [0], [0], [5]), memoryview(b"value")))
    ran(agent, 0)
    ran(agent, 1)
    agent.handle(Wanted(PEER, frames.Want("job", [0], [0], "b:1")))
    assert [type(frame) for frame in told_peers(agent)] == [frames.Values]


def test_a_host_whose_return_was_before_this_one_read_the_log_is_tried_when_an_order_names_it() -> None:
    agent = agent_with([[], [0]], [], [])
    agent.handle(LogRead([lost("a")]))
    order = assign([1], [1])
    order.at = 2
    agent.assignments.assign(order, None)
    assert connects(agent) == [("a", "a:1")]
