"""The agent's links: those it opened to have datasets, and those that others opened to have its."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable

from headrace.link import Handler, Identity, Link, LinkError, Server, connect, frames, serve
from headrace.worker.actions import Action, Connect, SendBlock, ToHost, ToPeer
from headrace.worker.state import Agent
from headrace_shm import Arena

log = logging.getLogger(__name__)


class Links(Handler):
    """Carries frames between the agent's state machine and other processes. `wake` is called after every event."""

    def __init__(self, agent: Agent, arena: Arena, key: bytes, wake: Callable[[], None]) -> None:
        self._agent = agent
        self._arena = arena
        self._key = key
        self._wake = wake
        self._identity = Identity(agent.host, "host", agent.epoch)
        self._to_hosts: dict[str, Link] = {}
        self._hosts: dict[Link, str] = {}
        self._peers: dict[int, Link] = {}
        self._numbers: dict[Link, int] = {}
        self._next = itertools.count(1)
        self._opening: set[asyncio.Task[None]] = set()
        self._server: Server | None = None

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Accept links. Returns the address that came out. Raises OSError if it cannot be listened on."""
        self._server = await serve(host, port, self._identity, self._key, self)
        return self._server.address

    # --- out --------------------------------------------------------------------------------------------------------

    def act(self, action: Action) -> None:
        """Carry out an action that concerns links. Those of links that have ended are dropped: the agent was told."""
        if isinstance(action, ToPeer):
            link = self._peers.get(action.peer)
            if link is not None:
                link.send(action.frame, action.payload) if action.payload else link.send(action.frame)
        elif isinstance(action, SendBlock):
            self._send_block(action)
        elif isinstance(action, ToHost):
            link = self._to_hosts.get(action.host)
            if link is not None:
                link.send(action.frame)
        elif isinstance(action, Connect):
            task = asyncio.ensure_future(self._open(action.host, action.address))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _send_block(self, action: SendBlock) -> None:
        def sent(_: bool) -> None:
            self._agent.sent(action.peer, action.frame, action.block)
            self._wake()

        link = self._peers.get(action.peer)
        if link is None:
            asyncio.get_running_loop().call_soon(sent, False)
        else:
            link.send(action.frame, self._arena.writable(action.offset, action.nbytes), on_sent=sent)

    async def _open(self, host: str, address: str) -> None:
        name, _, port = address.rpartition(":")
        try:
            link = await connect((name, int(port)), self._identity, self._key, self)
        except (LinkError, OSError, ValueError) as error:
            log.warning("no link to host %s at %s: %s", host, address, error)
            self._agent.host_unreachable(host)
        else:
            self._to_hosts[host] = link
            self._hosts[link] = host
            self._agent.host_connected(host)
        self._wake()

    # --- in ---------------------------------------------------------------------------------------------------------

    def link_opened(self, link: Link) -> None:
        """Links of others are numbered; one that this host opened is known by its host, when `connect` returns."""

    def link_closed(self, link: Link, reason: str) -> None:
        """Tell the agent who is gone."""
        host, number = self._hosts.pop(link, None), self._numbers.pop(link, None)
        if host is not None:
            log.info("the link to host %s has ended: %s", host, reason)
            del self._to_hosts[host]
            self._agent.host_unreachable(host)
        if number is not None:
            del self._peers[number]
            self._agent.peer_left(number)
        self._wake()

    def frame_received(self, link: Link, frame: frames.Frame, payload: memoryview) -> None:
        """Pass a frame to the agent."""
        if link in self._hosts:
            self._from_host(self._hosts[link], frame, payload)
        else:
            self._from_peer(link, frame)
        self._wake()

    def _from_host(self, host: str, frame: frames.Frame, payload: memoryview) -> None:
        agent = self._agent
        if isinstance(frame, frames.Values):
            agent.values_received(frame, payload)
        elif isinstance(frame, frames.Offer):
            agent.offered(host, frame)
        elif isinstance(frame, frames.Data):
            agent.received(host, frame)
        elif isinstance(frame, frames.Gone):
            agent.gone(host, frame)
        else:
            raise ValueError(f"host {host} sent a {type(frame).__name__} over a link that it did not open")

    def _from_peer(self, link: Link, frame: frames.Frame) -> None:
        number = self._numbers.get(link)
        if number is None:
            number = self._numbers[link] = next(self._next)
            self._peers[number] = link
        if isinstance(frame, frames.Want):
            self._agent.wanted(number, frame)
        elif isinstance(frame, frames.Grant):
            self._agent.granted(number, frame)
        elif isinstance(frame, frames.Unwant):
            self._agent.unwanted(number, frame)
        else:
            raise ValueError(f"{link.role} {link.peer} sent a {type(frame).__name__}, which nobody asked it for")

    def data_sink(self, link: Link, frame: frames.Data, nbytes: int) -> memoryview | None:
        """The granted place in the arena; somewhere else for what was granted and is not needed any more. Unasked bytes end the link."""
        host = self._hosts.get(link)
        if host is None:
            return None
        place = self._agent.receiving(host, frame, nbytes)
        return memoryview(bytearray(nbytes)) if place is None else self._arena.writable(*place)

    async def close(self) -> None:
        """End all links."""
        for task in self._opening:
            task.cancel()
        for link in [*self._to_hosts.values(), *self._peers.values()]:
            link.close("this host stops")
        if self._server is not None:
            self._server.close()
