"""Datasets that go from host to host: who has them from whom, and that all have them whatever fails on the way."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace.link import frames
from headrace.worker.agent import actions
from headrace.worker.agent.events import (
    BytesSent,
    DataArrived,
    DataArriving,
    DatasetsGone,
    Granted,
    HostUnreachable,
    LinksDue,
    LogRead,
    PeerCame,
    PeerLeft,
    Relayed,
    Tick,
    Wanted,
)
from headrace.worker.agent.relays import ORIGIN, Broadcast, PeerHost, Relays
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings
from headrace_schemas import Reroute
from tests.unit.worker_world import EPOCH, JOB, World, value_of

SMALL, LARGE = 9_000, 30_000
ATTEMPT = 3
"""Of the task that makes the dataset."""

# --- who has a dataset from whom ------------------------------------------------------------------------------------------


def relays(hosts: int, **changed: int) -> tuple[Relays, Broadcast]:
    """Hosts 0, 1, ... that all ask for one dataset."""
    made = Relays(Settings(host="origin", **changed))
    broadcast = None
    for peer in range(hosts):
        made.came(peer, PeerHost(f"h{peer}", 1, ""))
        made.reachable(peer, f"h{peer}:1")
        broadcast = made.asked(broadcast, peer, 1 << 30)
    assert broadcast is not None
    return made, broadcast


def placed(made: Relays, broadcast: Broadcast, peer: int, sending: int) -> str:
    found = made.place(broadcast, peer, sending)
    return found.host if found is not None else "origin"


def test_hosts_form_a_chain_in_the_order_of_their_grants():
    made, broadcast = relays(4)
    assert [placed(made, broadcast, peer, int(k > 0)) for k, peer in enumerate([2, 0, 3, 1])] == ["origin", "h2", "h0", "h3"]
    assert [broadcast.depth(peer) for peer in range(4)] == [1, 3, 0, 2]


def test_with_a_fan_out_of_two_they_form_a_tree():
    made, broadcast = relays(7, relay_fan_out=2)
    found = [placed(made, broadcast, peer, min(peer, 2)) for peer in range(7)]
    assert found == ["origin", "origin", "h0", "h0", "h1", "h1", "h2"]


def test_the_origin_serves_who_comes_when_it_has_nothing_else_to_do():
    made, broadcast = relays(3)
    assert [placed(made, broadcast, peer, 0) for peer in range(3)] == ["origin"] * 3


def test_who_grants_again_is_served_by_the_origin():
    made, broadcast = relays(3)
    placed(made, broadcast, 0, 0)
    assert placed(made, broadcast, 1, 1) == "h0"
    assert [placed(made, broadcast, 1, 1) for _ in range(3)] == ["origin"] * 3


def test_who_cannot_reach_a_relay_is_not_sent_there_for_ever():
    made = relays(3)[0]
    found = []
    for _ in range(3 + 1):
        broadcast = Broadcast()
        placed(made, broadcast, 0, 0)
        found.append(placed(made, broadcast, 1, 1))
        placed(made, broadcast, 1, 1)
    assert found == ["h0"] * 3 + ["origin"]
    assert placed(made, broadcast, 2, 1) == "h0", "others can"


def test_nobody_is_sent_to_a_host_that_has_left():
    made, broadcast = relays(4)
    placed(made, broadcast, 0, 0)
    assert placed(made, broadcast, 1, 1) == "h0"
    made.left(1)
    assert placed(made, broadcast, 2, 1) == "h0"
    made.left(0)
    made.left(2)
    assert placed(made, broadcast, 3, 1) == "origin"


def test_small_datasets_clients_and_single_hosts_need_no_relay():
    made = Relays(Settings(host="origin", relay_bytes=1_000))
    made.came(0, PeerHost("h0", 1, ""))
    assert made.asked(None, 0, 5_000) is None, "nobody can reach it"
    made.reachable(0, "h0:1")
    assert made.asked(None, 0, 999) is None
    made.reachable(1, "client:1")
    assert made.asked(None, 1, 5_000) is None
    alone = made.asked(made.asked(None, 0, 5_000), 0, 5_000)
    assert alone is not None
    assert not alone.several


class Places(RuleBasedStateMachine):
    """Hosts come, grant, fail, come back and grant again, in any order: nobody waits for itself, nor for one that is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.relays = Relays(Settings(host="origin", relay_fan_out=2))
        self.broadcast: Broadcast = Broadcast()
        self.peers: dict[str, int] = {}
        self.next = 0
        self.has_from: dict[str, str] = {}
        """Per host, whose bytes it waits for now; "" is the origin."""
        self.had: set[str] = set()

    @rule(host=st.sampled_from("abcdefgh"))
    def come(self, host: str) -> None:
        if host not in self.peers:
            self.peers[host] = self.next
            self.relays.came(self.next, PeerHost(host, self.next, ""))
            self.relays.reachable(self.next, f"{host}:1")
            assert self.relays.asked(self.broadcast, self.next, 1 << 30) is self.broadcast
            self.next += 1

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), busy=st.integers(0, 3))
    def grant(self, data: st.DataObject, busy: int) -> None:
        host = data.draw(st.sampled_from(sorted(self.peers)))
        found = self.relays.place(self.broadcast, self.peers[host], busy)
        assert found is None or self.peers[found.host] == found.epoch, "a host that is not there, or of an older epoch"
        assert found is None or host not in self.had, "who grants again has it from the origin"
        assert found is not None or busy < 2 or host in self.had or not self._others(host)
        self.had.add(host)
        self.has_from[host] = found.host if found is not None else ""
        assert (self.broadcast.source(self.peers[host]) == ORIGIN) == (found is None)

    def _others(self, host: str) -> set[str]:
        """Hosts that are there and have a place, and so could pass on to another."""
        return {other for other in self.peers if other != host and self.broadcast.source(self.peers[other]) != ORIGIN}

    @precondition(lambda self: self.peers)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        host = data.draw(st.sampled_from(sorted(self.peers)))
        self.relays.left(self.peers.pop(host))

    @invariant()
    def every_way_leads_to_the_origin(self) -> None:
        for host in self.has_from:
            seen = {host}
            while host := self.has_from[host]:
                assert host not in seen, "hosts wait for one another"
                seen.add(host)


TestPlaces = Places.TestCase


# --- that all have it ---------------------------------------------------------------------------------------------------


class Broadcasting(World):
    """One host makes a large dataset that every other takes. Links break, and blocks leave a host only when they are delivered."""

    def __init__(self, takers: int, nbytes: int = LARGE, capacity: int = 1 << 20, spills: bool = False) -> None:
        n = takers + 1
        super().__init__([[], *[[0]] * takers], list(range(1, n)), {0: nbytes}, n, 1, capacity, spills)
        self.peer_numbers = {(at, other): self.names.index(other) for at in self.names for other in self.names}
        self.dead: set[str] = set()
        self.sends: dict[tuple[str, str, str], list[actions.SendBlock | None]] = {}
        self.bytes_sent: dict[str, int] = dict.fromkeys(self.names, 0)

    def release(self) -> None:
        n = len(self.names)
        self.assign([[task] for task in range(n)], list(range(n)), list(range(n)), {0: ATTEMPT})

    # Peers are numbered anew with every link.

    def _name_of(self, at: str, number: int) -> str | None:
        return next((other for other in self.names if self.peer_numbers[at, other] == number), None)

    def _act(self, name: str, action: actions.Action) -> None:
        if isinstance(action, actions.ToPeer | actions.SendBlock):
            other = self._name_of(name, action.peer)
            if other is not None:
                self._down(name, other, action)
            elif isinstance(action, actions.SendBlock):
                self.agents[name].handle(BytesSent(action.peer, action.frame, action.nbytes, action.block))
        elif isinstance(action, actions.ToHost):
            if self.agents[name].sources.is_up(action.host):
                super()._act(name, action)
        elif isinstance(action, actions.Disconnect):
            self.cut(name, action.host)
        else:
            super()._act(name, action)

    def _down(self, name: str, other: str, action: actions.ToPeer | actions.SendBlock) -> None:
        is_block = isinstance(action, actions.SendBlock)
        self._wire(name, other, "down").append((action.frame, b"" if is_block else action.payload))
        self.sends.setdefault((name, other, "down"), []).append(action if is_block else None)

    def _deliver(self, key: tuple[str, str, str]) -> None:
        sender, receiver, way = key
        frame, payload = self.wires[key][0]
        agent, number = self.agents[receiver], self.peer_numbers[receiver, sender]
        if way == "up":
            self.wires[key].popleft()
            agent.handle({frames.Want: Wanted, frames.Grant: Granted}[type(frame)](number, frame))
            return
        block = self.sends[key].pop(0)
        if block is None:
            super()._deliver(key)
            return
        self.wires[key].popleft()
        payload = bytes(self.memory[sender][block.offset : block.offset + block.nbytes])
        self.bytes_sent[sender] += len(payload)
        assert frame.attempt == ATTEMPT
        agent.handle(DataArriving(sender, frame, len(payload)))
        place = agent.fetching.place
        if place is not None:
            self.memory[receiver][place[0] : sum(place)] = payload
        agent.handle(DataArrived(sender, frame, len(payload)))
        self.agents[sender].handle(BytesSent(block.peer, block.frame, block.nbytes, block.block))

    # What breaks.

    def cut(self, here: str, there: str) -> None:
        """The link that `here` opened to `there` breaks, with all that is on its way."""
        number = self.peer_numbers[there, here]
        self.peer_numbers[there, here] += len(self.names)
        self.wires.pop((here, there, "up"), None)
        self.wires.pop((there, here, "down"), None)
        for block in self.sends.pop((there, here, "down"), []):
            if block is not None:
                self.agents[there].handle(BytesSent(block.peer, block.frame, block.nbytes, block.block))
        self.agents[there].handle(PeerLeft(number))
        self.agents[there].handle(PeerCame(self.peer_numbers[there, here], PeerHost(here, EPOCH, "")))
        if self.agents[here].sources.is_up(there):
            self.agents[here].handle(HostUnreachable(there))

    def kill(self, name: str) -> None:
        """A host is gone. Whatever connects to it finds nobody."""
        for other in self.names:
            if other not in (name, *self.dead):
                self.cut(other, name)
                self.cut(name, other)
        self.dead.add(name)

    def choices(self) -> list[tuple[str, object]]:
        return [choice for choice in super().choices() if not (self.dead & {choice[1][0], *choice[1][:2]} and choice[0] != "connect")]  # type: ignore[index]

    def step(self, rng: random.Random) -> bool:
        for pair in [pair for pair in self.connecting if self.dead & {*pair}]:
            self.connecting.remove(pair)
            if pair[0] not in self.dead:
                self.agents[pair[0]].fetching.host_unreachable(pair[1])
        return super().step(rng)

    def tick(self, seconds: float) -> None:
        super().tick(seconds)
        for name in self.names:
            if name not in self.dead:
                self.agents[name].handle(LinksDue())

    # What a test looks at.

    def expect_all(self) -> None:
        """Every host that lives has executed its task, once and with the right bytes."""
        living = [k for k, name in enumerate(self.names) if name not in self.dead]
        assert sorted(self.done_chains()) == sorted(set(self.done_chains()) | set(living))
        right = {k: value_of(k, [value_of(0, [])]) for k in living if k}
        assert {k: value for k, value in self.values().items() if k in right} == right

    def expect_nothing_held(self) -> None:
        for name, agent in self.agents.items():
            if name not in self.dead:
                assert not agent.serving.cut_through._takers
                assert agent.grants.transfers == 0
        self.end("failed")
        self.pump()
        for name, agent in self.agents.items():
            assert name in self.dead or agent.memory.store.used == 0


def test_a_broadcast_leaves_the_origin_once_and_every_host_at_most_once():
    world = Broadcasting(8)
    world.release()
    world.run(random.Random(1))
    world.expect_all()
    assert world.bytes_sent["h0"] == LARGE
    assert sum(world.bytes_sent.values()) == 8 * LARGE
    assert max(world.bytes_sent.values()) == LARGE
    world.expect_nothing_held()


def test_small_ones_and_single_takers_come_from_the_origin_in_one_go():
    for takers, nbytes in ((3, SMALL), (1, LARGE)):
        world = Broadcasting(takers, nbytes)
        world.release()
        world.run(random.Random(2))
        world.expect_all()
        assert world.bytes_sent["h0"] == takers * nbytes
        assert sum(world.bytes_sent.values()) == takers * nbytes


def _half_way(world: Broadcasting, rng: random.Random) -> None:
    """Until every host has its place, and the last some bytes."""
    world.release()
    last = lambda: max(agent.jobs[JOB].entries[0].filled for agent in list(world.agents.values())[1:])  # noqa: E731
    for _ in range(10_000):
        world.step(rng)
        if all(JOB in agent.jobs and 0 in agent.jobs[JOB].entries for agent in world.agents.values()) and last() > 4_000:
            return
    raise AssertionError("no host gets any piece")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(0, 1 << 30))
def test_a_host_that_dies_in_the_middle_keeps_nobody_from_having_it(victim, seed):
    rng, world = random.Random(seed), Broadcasting(6)
    _half_way(world, rng)
    world.kill(f"h{victim}")
    world.run(rng)
    world.expect_all()
    world.expect_nothing_held()


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 6), st.sampled_from([40_000, 80_000, 1 << 20]), st.booleans(), st.integers(0, 1 << 30))
def test_links_that_break_copies_that_are_dropped_and_hosts_that_die_in_any_order(takers, capacity, spills, seed):
    rng, world = random.Random(seed), Broadcasting(takers, capacity=capacity, spills=spills)
    world.release()
    for _ in range(rng.randrange(200)):
        for _ in range(rng.randrange(8)):
            world.step(rng)
        what, here, there = rng.random(), rng.choice(world.names), rng.choice(world.names)
        if here in world.dead or there in world.dead or here == there:
            continue
        if what < 0.1:
            world.cut(here, there)
        elif what < 0.2 and here != "h0":
            world.purge(here, [0])
        elif what < 0.22 and here != "h0":
            world.kill(here)
        elif what < 0.3:
            world.tick(rng.choice([0.1, 2.0]))
    world.run(rng)
    world.expect_all()
    assert not any(0 in events.gone for events in world.events if events.host == "h0")
    world.expect_nothing_held()


# --- one host's part --------------------------------------------------------------------------------------------------------


def _behind_a_relay(rng: random.Random) -> tuple[Broadcasting, Agent, str]:
    """A world in the middle of a broadcast, with a host that has some of its bytes, and the relay that it has them from, which has not got
    all of them."""
    for _ in range(100):
        world = Broadcasting(2, 20 * LARGE)
        _half_way(world, rng)
        while world.step(rng):
            for name in ("h1", "h2"):
                entry = world.agents[name].jobs[JOB].entries[0]
                relay = entry.source
                if relay not in ("", "h0") and entry.filled and world.agents[relay].jobs[JOB].entries[0].granted is not None:
                    return world, world.agents[name], relay
    raise AssertionError("no host has a piece from a relay")


def test_a_transfer_goes_on_at_the_origin_where_the_relay_left_off():
    world, agent, relay = _behind_a_relay(random.Random(4))
    filled = agent.jobs[JOB].entries[0].filled
    agent.handle(DatasetsGone(relay, frames.Gone(JOB, [0])))
    grants = [action for action in agent.take() if isinstance(action, actions.ToHost)]
    assert grants == [actions.ToHost("h0", frames.Grant(JOB, [0], [filled]))]
    assert not agent.reports_due(), "the dataset is not lost"
    world._act(agent.host, grants[0])
    world.run(random.Random(5))
    world.expect_all()


def test_a_relay_that_says_nothing_loses_its_link_and_the_origin_sends_the_rest():
    world, agent, relay = _behind_a_relay(random.Random(6))
    agent.handle(Tick(world.now + 4.0, [None]))
    assert not agent.take()
    agent.handle(Tick(world.now + 6.0, [None]))
    assert agent.take() == [actions.Disconnect(relay)]
    world.cut(agent.host, relay)
    world.now += 6.0
    world.run(random.Random(7))
    world.expect_all()


def test_a_relay_of_another_epoch_than_the_origin_said_is_not_asked():
    _, agent, relay = _behind_a_relay(random.Random(8))
    agent.jobs[JOB].entries[0].source = "h0"
    agent.take()
    agent.handle(Relayed("h0", frames.Relay(JOB, 0, relay, f"{relay}:1", EPOCH + 1, 1)))
    assert [action.host for action in agent.take() if isinstance(action, actions.ToHost)] == ["h0"]


def test_a_reroute_in_the_middle_tells_those_behind_at_once():
    world, _, relay = _behind_a_relay(random.Random(9))
    hosts = [*world.names]
    world.agents[relay].handle(
        LogRead(
            [
                Reroute(
                    at=1,
                    term=1,
                    job=JOB,
                    host=relay,
                    epoch=EPOCH,
                    hosts=hosts,
                    addresses=[f"{n}:1" for n in hosts],
                    datasets=[0],
                    attempts=[9],
                    sources=[0],
                )
            ]
        )
    )
    said = [action.frame for action in world.agents[relay].take() if isinstance(action, actions.ToPeer)]
    assert frames.Gone(JOB, [0]) in said
