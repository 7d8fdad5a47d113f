"""The links of a host: those that it opened to fetch datasets, and those that its peers opened to fetch its datasets."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from headrace.link import Handler, Identity, Link, LinkError, MalformedFrame, Place, Server, connect, frames, serve, split_address
from headrace.logs import get_log
from headrace.worker.agent import events
from headrace.worker.agent.actions import Action, Connect, Disconnect, DropPeer, SendBlock, SendSpilled, ToHost, ToPeer
from headrace.worker.agent.metrics import Traffic
from headrace.worker.agent.relays import PeerHost
from headrace.worker.agent.spans import transferred
from headrace.worker.agent.state import Agent
from headrace_shm import Arena, ArenaFull

if TYPE_CHECKING:
    from headrace.telemetry.spans import Tracing

log = get_log(__name__)

HOST = "host"
"""The role of an agent on a link. It requires the cluster's key."""


_numbers = itertools.count(1)
"""The numbers of peers. They are never used again, so that late events about links from before a rejoin are not taken for present ones."""


Failed = Callable[[BaseException], None]
"""A function that is called with an error that occurs after an action was begun."""


class Links(Handler):
    """Carries frames between the agent's state machine and the links. wake: is called after every event. traffic: counts, for metrics."""

    def __init__(self, agent: Agent, arena: Arena, key: bytes, wake: Callable[[], None], tracing: Tracing | None = None) -> None:
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
        """For each link, the datasets that were granted and have not arrived: how often each was granted, by job and dataset."""
        self._block_bytes: Counter[int] = Counter()
        """Bytes of blocks in flight, by peer."""
        self.traffic = Traffic()
        self._began: dict[Link, float] = {}
        """The time at which the first bytes of the block arrived that is being received on a link."""
        self._opening: set[asyncio.Task[None]] = set()
        self._server: Server | None = None

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Accept links, and return the address with the chosen port. Raises OSError if the address cannot be used."""
        self._server = await serve(host, port, self._identity, self._key, self)
        return self._server.address

    def open_links(self) -> dict[str, int]:
        """Count the open links: those that this host opened (out), and those that peers opened (in)."""
        return {"out": len(self._to_hosts), "in": len(self._peers)}

    def refused(self) -> dict[str, int]:
        """Count the links that were refused because there were too many, by reason."""
        return dict(self._server.refused) if self._server is not None else {}

    # --- out --------------------------------------------------------------------------------------------------------

    def act(self, action: Action, failed: Failed | None = None) -> None:
        """Carry out an action on a link. If the link has ended, the action is dropped, because the agent has had an event about that.

        failed: is called with an error that occurs later.
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
            log.warning("closed a link: its peer does not read what it asked for", role=link.role, peer=link.peer, bytes=unread)
            link.close("the peer does not read what it asked for")

    def _to_host(self, action: ToHost, _: Failed | None) -> None:
        link = self._to_hosts.get(action.host)
        if link is None or link.closed:
            return
        if isinstance(action.frame, frames.Grant):
            self._owed[link].update((action.frame.job, dataset) for dataset in action.frame.datasets)
        link.send(action.frame)

    def send_data(self, action: SendBlock | SendSpilled, data: memoryview) -> None:
        """Send bytes of a dataset. The agent gets an event when they were sent, or could not be."""

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
            self._agent.handle(events.BytesSent(action.peer, action.frame, action.nbytes, block))
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
            log.warning("closed the link to a host: it does not send the datasets that it was asked for", peer=action.host)
            link.close("the host does not send the datasets that it was asked for")

    def _drop_peer(self, action: DropPeer, _: Failed | None) -> None:
        link = self._peers.get(action.peer)
        if link is not None:
            link.close("a dataset that the peer asked for could not be sent")

    async def _open(self, host: str, address: str) -> None:
        try:
            link = await connect(split_address(address), self._identity, self._key, self)
            if link.closed or link.peer != host:
                link.close("another host is at this address")
                raise LinkError(f"{link.role} {link.peer!r} answers at this address" if link.peer != host else "the link ended at once")
        except (LinkError, OSError, ValueError) as error:
            log.warning("no link to a host", peer=host, address=address, error=error)
            self.traffic.unreachable += 1
            self._agent.handle(events.HostUnreachable(host))
        else:
            self._to_hosts[host] = link
            self._hosts[link] = host
            self._owed[link] = Counter()
            self._agent.handle(events.HostConnected(host, link.epoch))
        self._wake()

    # --- in ---------------------------------------------------------------------------------------------------------

    def link_opened(self, link: Link) -> None:
        """Do nothing yet: a peer's link gets a number with its first frame, and `_open` notes a link that this host opened."""

    def link_closed(self, link: Link, reason: str) -> None:
        """Tell the agent which host or peer can no longer be reached."""
        host, number = self._hosts.pop(link, None), self._numbers.pop(link, None)
        self._owed.pop(link, None)
        self._began.pop(link, None)
        if host is not None:
            log.info("the link to a host has ended", peer=host, error=reason)
            del self._to_hosts[host]
            self._agent.handle(events.HostUnreachable(host))
        if number is not None:
            del self._peers[number]
            self._agent.handle(events.PeerLeft(number))
        self._wake()

    def frame_received(self, link: Link, frame: frames.Frame, payload: memoryview) -> None:
        """Pass a frame to the agent. Raises MalformedFrame, which ends the link, if the frame is not allowed or not valid."""
        try:
            if link in self._hosts:
                self._from_host(self._hosts[link], frame, payload)
            else:
                self._from_peer(link, frame)
        except ValueError as error:
            raise MalformedFrame(f"a {type(frame).__name__} frame is not allowed here: {error}") from error
        finally:
            self._wake()

    def _from_host(self, host: str, frame: frames.Frame, payload: memoryview) -> None:
        self.traffic.received_bytes += len(payload)
        handle = _FROM_HOST.get(type(frame))
        if handle is None:
            raise ValueError("only the side that opened the link may send it")
        handle(self, host, frame, payload)

    def _values(self, host: str, frame: frames.Values, payload: memoryview) -> None:
        self._agent.handle(events.ValuesReceived(host, frame, payload))

    def _offer(self, host: str, frame: frames.Offer, payload: memoryview) -> None:
        self._agent.handle(events.Offered(host, frame))

    def _data(self, host: str, frame: frames.Data, payload: memoryview) -> None:
        seconds = perf_counter() - self._began.pop(self._to_hosts[host])
        self.traffic.received.add(seconds)
        if self._tracing is not None:
            transferred(self._tracing, "receive dataset", host, frame, len(payload), seconds)
        self._agent.handle(events.DataArrived(host, frame, len(payload)))

    def _gone(self, host: str, frame: frames.Gone, payload: memoryview) -> None:
        self._agent.handle(events.DatasetsGone(host, frame))

    def _relay(self, host: str, frame: frames.Relay, payload: memoryview) -> None:
        """Note that another host will send a dataset that this one was granted."""
        if not self._pay(self._to_hosts[host], (frame.job, frame.dataset)):
            raise ValueError(f"dataset {frame.dataset} of job {frame.job} was not granted")
        log.info("a dataset will be relayed by another host", job=frame.job, dataset=frame.dataset, peer=host, through=frame.host)
        self._agent.handle(events.Relayed(host, frame))

    def _from_peer(self, link: Link, frame: frames.Frame) -> None:
        number = self._numbers.get(link)
        if number is None:
            number = self._numbers[link] = next(_numbers)
            self._peers[number] = link
            if link.role == HOST:
                self._agent.handle(events.PeerCame(number, PeerHost(link.peer, link.epoch, "")))
        event = _FROM_PEER.get(type(frame))
        if event is None:
            raise ValueError("this host did not ask for it")
        self._agent.handle(event(number, frame))

    def data_sink(self, link: Link, frame: frames.Data, nbytes: int) -> memoryview | Place | None:
        """Return the memory for incoming bytes: the granted block, or a scratch buffer if the dataset is not needed any more.

        Returns None, which ends the link, for bytes that were not granted.
        """
        host = self._hosts.get(link)
        last = not frame.size or frame.start + nbytes >= frame.size
        if host is None or not self._pay(link, (frame.job, frame.dataset), last) or nbytes > self._agent.memory.shortage.full_capacity:
            return None
        self._began[link] = perf_counter()
        self._agent.handle(events.DataArriving(host, frame, nbytes))
        place = self._agent.fetching.place
        if place is None:
            return memoryview(bytearray(nbytes))
        memory = self._arena.writable(*place)
        if self._arena.is_backed(*place):
            return memory
        return Place(memory, lambda data, start: self._write(host, frame, place[0] + start, data))

    def _write(self, host: str, frame: frames.Data, offset: int, data: memoryview) -> None:
        """Write received bytes of a dataset. If there is no memory, tell the agent and raise LinkError, so that both sides start again."""
        try:
            self._arena.write(offset, data)
        except ArenaFull as error:
            self._agent.handle(events.DataUnbacked(host, frame, self._arena.backed))
            raise LinkError(f"dataset {frame.dataset} of job {frame.job} has no room: {error}") from error

    def _pay(self, link: Link, what: tuple[str, int], last: bool = True) -> bool:
        """Whether a dataset was granted on a link and is still due. last: whether these bytes complete it, so that it is due once less."""
        owed = self._owed[link]
        if not last:
            return what in owed
        if owed[what] > 1:
            owed[what] -= 1
            return True
        return owed.pop(what, 0) == 1

    async def close(self) -> None:
        """Close all links, and wait for a limited time until the agent has been told."""
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
"""The function for each type of action on links."""

_FROM_HOST: dict[type[Any], Callable[[Links, str, Any, memoryview], None]] = {
    frames.Values: Links._values,
    frames.Offer: Links._offer,
    frames.Data: Links._data,
    frames.Relay: Links._relay,
    frames.Gone: Links._gone,
}
"""The function for each type of frame on a link that this host opened."""

_FROM_PEER: dict[type[Any], Callable[[int, Any], events.Event]] = {
    frames.Want: events.Wanted,
    frames.Grant: events.Granted,
    frames.Unwant: events.Unwanted,
}
"""The event for each type of frame on a link that a peer opened."""
