"""A store of any size: whatever is larger than it, the job ends and every client gets what it asks for, or a true reason why not.

Runners, disks, links between hosts and clients that read slowly make progress in any order. Nothing of it may wait for ever.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.link import frames
from headrace.worker.agent import actions
from headrace.worker.agent.events import BytesSent, Granted, PeerLeft, Wanted
from headrace_schemas.streams import INLINE_VALUE_BYTES
from tests.unit.worker_world import JOB, World, expected_value, filled_with

FIRST_CLIENT = 100


class Client:
    """Fetches datasets from one host; its parts come when it reads them."""

    def __init__(self, host: str, wanted: list[int]) -> None:
        self.host = host
        self.wanted = wanted
        self.asked = self.left = False
        self.to_grant: list[int] = []
        self.unread: deque[tuple[actions.SendBlock | actions.SendSpilled, bytes | None]] = deque()
        self.parts: dict[int, bytes] = {}
        self.values: dict[int, bytes] = {}
        self.gone: set[int] = set()

    def take(self, frame: frames.Data, nbytes: int, data: bytes) -> None:
        """Bytes came: all of a dataset, or the next part of it."""
        known = self.parts.pop(frame.dataset, b"")
        assert frame.start == len(known)
        whole = known + data
        if len(whole) < frame.size:
            self.parts[frame.dataset] = whole
        else:
            self.values[frame.dataset] = filled_with(whole)


class Shop(World):
    """A world with clients."""

    clients: dict[int, Client]
    writes: int
    """How often the disk takes something; then it is full."""

    def open(self, clients: list[Client]) -> None:
        self.clients = dict(enumerate(clients, FIRST_CLIENT))
        self.asked_to_drop: set[tuple[str, int]] = set()

    def _act(self, name: str, action: actions.Action) -> None:
        client = self.clients.get(getattr(action, "peer", -1))
        if client is None:
            super()._act(name, action)
        elif isinstance(action, actions.SendBlock):
            client.unread.append((action, None))
        elif isinstance(action, actions.SendSpilled):
            self.disk_work.append((name, action))
        else:
            assert isinstance(action, actions.ToPeer)
            self._told(client, action.frame, action.payload)

    @staticmethod
    def _told(client: Client, frame: frames.Frame, payload: bytes) -> None:
        if isinstance(frame, frames.Offer):
            client.to_grant += frame.datasets
        elif isinstance(frame, frames.Gone):
            client.gone.update(frame.datasets)
        elif isinstance(frame, frames.Values):
            start = 0
            for dataset, length in zip(frame.datasets, frame.lengths, strict=True):
                client.values[dataset] = payload[start : start + length]
                start += length

    def _use_disk(self, name: str, work: Any) -> None:
        client = self.clients.get(getattr(work, "peer", -1))
        if isinstance(work, actions.Spill):
            self.writes -= 1
        if isinstance(work, actions.Spill) and self.writes < 0:
            self.agents[name].spilled(work.key, False)
        elif client is None:
            super()._use_disk(name, work)
        else:
            data = self.disk.get((name, work.key), b"")[work.frame.start :][: work.nbytes]
            client.unread.append((work, data))
            if client.left:
                self._drop_unread(name, work.peer)

    def choices(self) -> list[tuple[str, object]]:
        found = super().choices()
        if not self.ended and self._result():
            found.append(("end", self._result()))
        for peer, client in self.clients.items():
            if not client.left and (not client.asked or client.to_grant or client.unread):
                found.append(("client", peer))
        return found

    def step(self, rng: random.Random) -> bool:
        self.pump()
        choices = self.choices()
        if not choices:
            return False
        kind, what = rng.choice(choices)
        if kind == "end":
            self.end(what)  # type: ignore[arg-type]
        elif kind != "client":
            self._do(kind, what)
        else:
            self._serve(what, rng)  # type: ignore[arg-type]
        self.pump()
        self._control(rng)
        return True

    def _do(self, kind: str, what: object) -> None:
        class Only(random.Random):
            def choice(self, seq: Any) -> Any:
                return kind, what

        World.step(self, Only())

    def _serve(self, peer: int, rng: random.Random) -> None:
        """A client asks, has room, or reads."""
        client = self.clients[peer]
        agent = self.agents[client.host]
        if not client.asked:
            client.asked = True
            agent.handle(Wanted(peer, frames.Want(JOB, client.wanted, [0] * len(client.wanted))))
        elif client.to_grant and (not client.unread or rng.random() < 0.5):
            agent.handle(Granted(peer, frames.Grant(JOB, client.to_grant)))
            client.to_grant = []
        else:
            action, data = client.unread.popleft()
            if isinstance(action, actions.SendBlock):
                data = bytes(self.memory[client.host][action.offset : action.offset + action.nbytes])
            assert data is not None
            client.take(action.frame, action.nbytes, data)
            agent.handle(BytesSent(peer, action.frame, action.nbytes, action.block if isinstance(action, actions.SendBlock) else 0))

    def leave(self, peer: int) -> None:
        """A client goes away in the middle."""
        client = self.clients[peer]
        client.left = True
        self.agents[client.host].handle(PeerLeft(peer))
        self._drop_unread(client.host, peer)

    def _drop_unread(self, name: str, peer: int) -> None:
        agent, client = self.agents[name], self.clients[peer]
        for action, _ in list(client.unread):
            agent.handle(BytesSent(peer, action.frame, action.nbytes, action.block if isinstance(action, actions.SendBlock) else 0))
        client.unread.clear()

    def _control(self, rng: random.Random) -> None:
        """What the controller does: it has dropped what nobody needs any more."""
        done = set(self.done_chains())
        for dataset in range(len(self.inputs)):
            takers = [task for task, given in enumerate(self.inputs) if dataset in given]
            if dataset in done and not set(takers) - done and dataset not in self.graph.outputs and rng.random() < 0.3:
                for name in self.names:
                    if (name, dataset) not in self.asked_to_drop:
                        self.asked_to_drop.add((name, dataset))
                        self.purge(name, [dataset])

    def _result(self) -> str:
        """How the job has ended, if it has."""
        if any(events.failed for events in self.events):
            return "failed"
        return "done" if len(self.done_chains()) == len(self.inputs) else ""


@st.composite
def shops(draw: st.DrawFn) -> tuple[Shop, random.Random]:
    n, capacity = draw(st.integers(1, 9)), draw(st.integers(16, 60)) * 1024
    inputs = [draw(st.lists(st.integers(0, t - 1), max_size=3, unique=True)) if t else [] for t in range(n)]
    sizes = {t: draw(st.integers(INLINE_VALUE_BYTES + 1, capacity * 11 // 10)) for t in range(n) if draw(st.integers(0, 4))}
    outputs = sorted({n - 1, *draw(st.lists(st.integers(0, n - 1), max_size=n))})
    hosts, runners = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    shop = Shop(inputs, outputs, sizes, hosts, runners, capacity, spills=draw(st.integers(0, 4)) > 0)
    placed = [draw(st.integers(0, hosts - 1)) for _ in range(n)]
    held = [[t for t in outputs if placed[t] == k and t in sizes] for k in range(hosts)]
    clients = [Client(f"h{k}", draw(st.permutations(mine))) for k, mine in enumerate(held) if mine for _ in range(draw(st.integers(1, 2)))]
    shop.open(clients)
    shop.writes = draw(st.sampled_from([1_000, 1_000, 1_000, 0, 1, 3]))
    shop.assign([[t] for t in range(n)], placed, list(range(n)))
    return shop, random.Random(draw(st.integers(0, 1 << 30)))


def may_fail(shop: Shop) -> bool:
    """Whether a result is larger than the store, or a task needs more at a time; or everything, where nothing goes to disk."""
    agent = shop.agents["h0"]
    capacity = agent.memory.store.capacity
    if not agent.memory.disk.enabled and sum(shop.large.values()) > capacity:
        return True
    needs = [sum(shop.large.get(d, 0) for d in {t, *given}) for t, given in enumerate(shop.inputs)]
    return max(shop.large.values(), default=0) > capacity or max(needs) > 2 * capacity


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(shops())
def test_nothing_waits_for_ever(drawn):
    shop, rng = drawn
    shop.run(rng)
    errors = [error for events in shop.events for error in events.failed]
    if errors:
        assert {error.reason for error in errors} == {"too_large"}
        assert may_fail(shop)
        return
    assert sorted(shop.done_chains()) == list(range(len(shop.inputs)))
    assert shop.ended
    memo: dict[int, bytes] = {}
    for client in shop.clients.values():
        assert client.values == {d: expected_value(shop.inputs, d, memo) for d in client.wanted}
    for agent in shop.agents.values():
        assert not agent.serving.sending
        assert agent.memory.first_claim is None


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(shops())
def test_a_client_that_leaves_keeps_nothing(drawn):
    shop, rng = drawn
    for _ in range(rng.randrange(80)):
        shop.step(rng)
    if not shop.clients:
        return
    shop.leave(FIRST_CLIENT)
    shop.run(rng)
    if not any(events.failed for events in shop.events):
        assert sorted(shop.done_chains()) == list(range(len(shop.inputs)))
    for agent in shop.agents.values():
        assert not agent.serving.sending
