"""The agent's links: those it opened to have datasets, and those that others opened to have its."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from headrace.link import Handler, Identity, Link, LinkError, MalformedFrame, Place, Server, connect, frames, serve, split_address
from headrace.logs import get_log
from headrace.worker.agent.actions import Action, Connect, Disconnect, DropPeer, SendBlock, SendSpilled, ToHost, ToPeer
from headrace.worker.agent.guard import Guard
from headrace.worker.agent.metrics import Traffic
from headrace.worker.agent.relays import PeerHost
from headrace.worker.agent.spans import transferred
from headrace.worker.agent.state import Agent
from headrace_shm import Arena, ArenaFull

if TYPE_CHECKING:
    from headrace.telemetry.spans import Tracing

log = get_log(__name__)

HOST = "host"
"""The role of an agent on a link; it takes the cluster's key to have it."""


_numbers = itertools.count(1)
"""Of peers. A host that joins again has other links, and their peers other numbers: what is still told of earlier ones is nobody's."""


Failed = Callable[[BaseException], None]
"""Told of an error that comes after an action was begun."""


class Links(Handler):
    """Carries frames between the agent's state machine and other processes. `wake` is called after every event.

    traffic: what was carried so far.
    """

    def __init__(
        self, agent: Agent, arena: Arena, key: bytes, wake: Callable[[], None], tracing: Tracing | None = None, guard: Guard | None = None
    ) -> None:
        """guard: hears of events on which the agent fails."""
        self._guard = guard or Guard(agent.assignments.fail_job, agent.settings.failures_in_a_row)
        self._agent = agent
        self._unread_bytes = agent.settings.unread_bytes
        self._arena = arena
        self._key = key
        self._wake = wake
        self._tracing = tracing
        self._identity = Identity(agent.host, HOST, agent.known.epoch)
        self._to_hosts: dict[str, Link] = {}
        self._hosts: dict[Link, str] = {}
        self._peers: dict[int, Link] = {}
        self._numbers: dict[Link, int] = {}
        self._owed: dict[Link, Counter[tuple[str, int]]] = {}
        """What was granted to a host and has not come, by job and dataset."""
        self._block_bytes: Counter[int] = Counter()
        """Bytes of blocks that are being sent, by peer."""
        self._from_peers: dict[type[Any], Callable[[int, Any], None]] = {
            frames.Want: agent.peers.wanted,
            frames.Grant: agent.peers.granted,
            frames.Unwant: agent.peers.unwanted,
        }
        """What the agent does with each kind of frame of a link that a peer opened."""
        self.traffic = Traffic()
        self._began: dict[Link, float] = {}
        """When the block that is arriving began to."""
        self._opening: set[asyncio.Task[None]] = set()
        self._server: Server | None = None

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Accept links. Returns the address that came out. Raises OSError if it cannot be listened on."""
        self._server = await serve(host, port, self._identity, self._key, self)
        return self._server.address

    def open_links(self) -> dict[str, int]:
        """How many there are, by who opened them: this host (out), or others (in)."""
        return {"out": len(self._to_hosts), "in": len(self._peers)}

    def refused(self) -> dict[str, int]:
        """How many links were ended for being too many, by reason."""
        return dict(self._server.refused) if self._server is not None else {}

    # --- out --------------------------------------------------------------------------------------------------------

    def act(self, action: Action, failed: Failed | None = None) -> None:
        """Carry out an action that concerns links. Those of links that have ended are dropped: the agent was told.

        failed: called with an error that comes later.
        """
        _ACT[type(action)](self, action, failed)

    def _connect(self, action: Connect, failed: Failed | None) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            self._opening.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None and failed is not None:
                failed(error)

        task = asyncio.ensure_future(self._open(action.host, action.address))
        self._opening.add(task)
        task.add_done_callback(ended)

    def _to_peer(self, action: ToPeer, _: Failed | None) -> None:
        link = self._peers.get(action.peer)
        if link is None or link.closed:
            return
        link.send(action.frame, action.payload) if action.payload else link.send(action.frame)
        self.traffic.sent_bytes += len(action.payload)
        unread = link.queued_bytes - self._block_bytes[action.peer]
        if unread > self._unread_bytes:
            log.warning("a link ends: its peer does not read what it asked for", role=link.role, peer=link.peer, bytes=unread)
            link.close("it does not read what it asked for")

    def _to_host(self, action: ToHost, _: Failed | None) -> None:
        link = self._to_hosts.get(action.host)
        if link is None or link.closed:
            return
        if isinstance(action.frame, frames.Grant):
            self._owed[link].update((action.frame.job, dataset) for dataset in action.frame.datasets)
        link.send(action.frame)

    def send_data(self, action: SendBlock | SendSpilled, data: memoryview) -> None:
        """Send bytes of a dataset, and tell the agent when they are out, or cannot be sent."""

        def sent(ok: bool) -> None:
            if ok:
                self.traffic.sent_bytes += action.nbytes
                self.traffic.sent.add(perf_counter() - began)
                if self._tracing is not None and link is not None:
                    transferred(self._tracing, "send dataset", link.peer, action.frame, action.nbytes, perf_counter() - began)
            self._block_bytes[action.peer] -= action.nbytes
            if not self._block_bytes[action.peer]:
                del self._block_bytes[action.peer]
            block = action.block if isinstance(action, SendBlock) else 0
            told = partial(self._agent.peers.sent, action.peer, action.frame, action.nbytes, block)
            self._guard.tell("bytes were sent", told, action.frame.job, action.frame)
            self._wake()

        link, began = self._peers.get(action.peer), perf_counter()
        self._block_bytes[action.peer] += action.nbytes
        if link is None or link.closed:
            asyncio.get_running_loop().call_soon(sent, False)
        else:
            link.send(action.frame, data, on_sent=sent)

    def _send_block(self, action: SendBlock, _: Failed | None) -> None:
        self.send_data(action, self._arena.writable(action.offset, action.nbytes))

    def _disconnect(self, action: Disconnect, _: Failed | None) -> None:
        link = self._to_hosts.get(action.host)
        if link is not None:
            log.warning("the link to a host ends: it does not send what it was to", peer=action.host)
            link.close("it does not send what it was to")

    def _drop_peer(self, action: DropPeer, _: Failed | None) -> None:
        link = self._peers.get(action.peer)
        if link is not None:
            link.close("what it asked for could not be sent")

    async def _open(self, host: str, address: str) -> None:
        try:
            link = await connect(split_address(address), self._identity, self._key, self)
            if link.closed or link.peer != host:
                link.close("another host is at this address")
                raise LinkError(f"{link.role} {link.peer!r} answers there" if link.peer != host else "it ended at once")
        except (LinkError, OSError, ValueError) as error:
            log.warning("no link to a host", peer=host, address=address, error=error)
            self.traffic.unreachable += 1
            self._guard.tell("no link to a host", partial(self._agent.fetching.host_unreachable, host), event=host)
        else:
            self._to_hosts[host] = link
            self._hosts[link] = host
            self._owed[link] = Counter()
            self._guard.tell("a link to a host", partial(self._agent.fetching.host_connected, host, link.epoch), event=host)
        self._wake()

    # --- in ---------------------------------------------------------------------------------------------------------

    def link_opened(self, link: Link) -> None:
        """Links of others are numbered; one that this host opened is known by its host, when `connect` returns."""

    def link_closed(self, link: Link, reason: str) -> None:
        """Tell the agent who is gone."""
        host, number = self._hosts.pop(link, None), self._numbers.pop(link, None)
        self._owed.pop(link, None)
        self._began.pop(link, None)
        if host is not None:
            log.info("the link to a host has ended", peer=host, error=reason)
            del self._to_hosts[host]
            self._guard.tell("a link to a host ended", partial(self._agent.fetching.host_unreachable, host), event=host)
        if number is not None:
            del self._peers[number]
            self._guard.tell("a link of a peer ended", partial(self._agent.peers.left, number), event=number)
        self._wake()

    def frame_received(self, link: Link, frame: frames.Frame, payload: memoryview) -> None:
        """Pass a frame to the agent. What it may not say ends the link."""
        try:
            if link in self._hosts:
                self._from_host(self._hosts[link], frame, payload)
            else:
                self._from_peer(link, frame)
        except ValueError as error:
            raise MalformedFrame(f"a {type(frame).__name__} frame that may not come: {error}") from error
        except Exception as error:  # the link ends for it
            self._guard.caught("what came over a link", error, frame.job, frame)
            raise
        finally:
            self._wake()

    def _from_host(self, host: str, frame: frames.Frame, payload: memoryview) -> None:
        self.traffic.received_bytes += len(payload)
        handle = _FROM_HOST.get(type(frame))
        if handle is None:
            raise ValueError("the other side did not open this link")
        handle(self, host, frame, payload)

    def _values(self, host: str, frame: frames.Values, payload: memoryview) -> None:
        self._agent.fetching.values_received(host, frame, payload)

    def _offer(self, host: str, frame: frames.Offer, payload: memoryview) -> None:
        self._agent.fetching.offered(host, frame)

    def _data(self, host: str, frame: frames.Data, payload: memoryview) -> None:
        seconds = perf_counter() - self._began.pop(self._to_hosts[host])
        self.traffic.received.add(seconds)
        if self._tracing is not None:
            transferred(self._tracing, "receive dataset", host, frame, len(payload), seconds)
        self._agent.fetching.received(host, frame, len(payload))

    def _gone(self, host: str, frame: frames.Gone, payload: memoryview) -> None:
        self._agent.fetching.gone(host, frame)

    def _relay(self, host: str, frame: frames.Relay, payload: memoryview) -> None:
        """A host owes a dataset no longer, for another one is to send it."""
        if not self._pay(self._to_hosts[host], (frame.job, frame.dataset)):
            raise ValueError(f"dataset {frame.dataset} of job {frame.job} was not granted")
        log.info("a dataset is to come through another host", job=frame.job, dataset=frame.dataset, peer=host, through=frame.host)
        self._agent.fetching.relayed(host, frame)

    def _from_peer(self, link: Link, frame: frames.Frame) -> None:
        number = self._numbers.get(link)
        if number is None:
            number = self._numbers[link] = next(_numbers)
            self._peers[number] = link
            if link.role == HOST:
                self._agent.peers.came(number, PeerHost(link.peer, link.epoch, ""))
        handle = self._from_peers.get(type(frame))
        if handle is None:
            raise ValueError("nobody asked for it")
        handle(number, frame)

    def data_sink(self, link: Link, frame: frames.Data, nbytes: int) -> memoryview | Place | None:
        """The granted place in the arena; somewhere else for what was granted and is not needed any more. Unasked bytes end the link."""
        host = self._hosts.get(link)
        last = not frame.size or frame.start + nbytes >= frame.size
        if host is None or not self._pay(link, (frame.job, frame.dataset), last) or nbytes > self._agent.memory.shortage.full_capacity:
            return None
        self._began[link] = perf_counter()
        place = self._agent.fetching.receiving(host, frame, nbytes)
        if place is None:
            return memoryview(bytearray(nbytes))
        memory = self._arena.writable(*place)
        if self._arena.is_backed(*place):
            return memory
        return Place(memory, lambda data, start: self._write(host, frame, place[0] + start, data))

    def _write(self, host: str, frame: frames.Data, offset: int, data: memoryview) -> None:
        """Write what came for a dataset. If there is no memory for it, the agent hears of that, and the link ends: both begin anew."""
        try:
            self._arena.write(offset, data)
        except ArenaFull as error:
            self._agent.fetching.no_memory(host, frame, self._arena.backed)
            raise LinkError(f"dataset {frame.dataset} of job {frame.job} has no room: {error}") from error

    def _pay(self, link: Link, what: tuple[str, int], last: bool = True) -> bool:
        """Whether a host owes this dataset; from now on once less, if this is the last of it."""
        owed = self._owed[link]
        if not last:
            return what in owed
        if owed[what] > 1:
            owed[what] -= 1
            return True
        return owed.pop(what, 0) == 1

    async def close(self) -> None:
        """End all links, and wait until the agent knows."""
        for task in self._opening:
            task.cancel()
        for link in [*self._to_hosts.values(), *self._peers.values()]:
            link.close("this host stops")
        if self._server is not None:
            self._server.close()
        deadline = perf_counter() + self._agent.settings.link_close_seconds
        while (self._hosts or self._numbers or self._block_bytes) and perf_counter() < deadline:
            await asyncio.sleep(0)


_ACT: dict[type[Any], Callable[[Links, Any, Failed | None], None]] = {
    ToPeer: Links._to_peer,
    SendBlock: Links._send_block,
    ToHost: Links._to_host,
    Disconnect: Links._disconnect,
    DropPeer: Links._drop_peer,
    Connect: Links._connect,
}
"""Per kind of action that concerns links."""

_FROM_HOST: dict[type[Any], Callable[[Links, str, Any, memoryview], None]] = {
    frames.Values: Links._values,
    frames.Offer: Links._offer,
    frames.Data: Links._data,
    frames.Relay: Links._relay,
    frames.Gone: Links._gone,
}
"""Per kind of frame of a link that this host opened."""
