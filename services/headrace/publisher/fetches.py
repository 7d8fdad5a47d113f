"""Relays values of outputs to clients that cannot reach the hosts: the publisher connects to a host like a client, and passes the data on.

Every publisher does this, whether it leads or not: relaying decides nothing and changes nothing. The publisher has the key of the cluster's
data plane, and proves only the key of the job that the client asks for. It never unpickles values; it passes on their bytes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable

from headrace.bus import Bus, Record, ensure_data_key, read_value
from headrace.bus.bus import Handler as Endpoint
from headrace.errors import HeadraceError
from headrace.link import CLIENT, Data, Frame, Identity, Link, LinkRefused, Place, connect, job_key, split_address
from headrace.publisher.relay import END, NOTHING_YET, Relay
from headrace.publisher.settings import FetchLimits
from headrace_schemas import HostEntry, decoder, encode
from headrace_schemas.base import SCHEMA_VERSION
from headrace_schemas.fetching import Fetch, Fetching
from headrace_schemas.reading import Unreadable, read
from headrace_schemas.streams import HOSTS

_fetch = decoder(Fetch)
_host_entry = decoder(HostEntry)


class CannotFetch(HeadraceError):
    """A fetch that is not possible. The client gets the error's text."""


class Fetches:
    """All fetches of this publisher. `endpoints`: to be served under `service`."""

    def __init__(self, bus: Bus, service: str, limits: FetchLimits) -> None:
        self._bus = bus
        self._limits = limits
        token = secrets.token_hex(4)
        self._name, pieces = f"{service}-{token}", f"pieces-{token}"
        self._key = b""
        self._places = asyncio.Semaphore(limits.fetches)
        self._sessions: dict[str, Session] = {}
        self._subject = f"headrace.service.{service}.{pieces}"
        self.endpoints: dict[str, Endpoint] = {"fetch": self._fetch, pieces: self._piece}

    def __len__(self) -> int:
        """Return the number of open fetches."""
        return len(self._sessions)

    async def _fetch(self, data: bytes) -> bytes:
        """Open a link to the host, and return where to ask for pieces, if there is room for one more fetch. Raises CannotFetch."""
        try:
            request = read(_fetch, data)
        except Unreadable as error:
            raise CannotFetch(f"the publisher cannot read the request: {error}") from None
        if request.v > SCHEMA_VERSION:
            raise CannotFetch(
                f"the request has schema version {request.v}, but this publisher reads up to {SCHEMA_VERSION}: upgrade the publisher"
            )
        session = Session(request, self._limits, self._ended)
        try:
            async with asyncio.timeout(self._limits.queue_seconds):
                await self._places.acquire()
        except TimeoutError:
            return encode(Fetching())
        self._sessions[session.id] = session
        self._bus.pace.hurry()
        try:
            await self._open(session, request)
        except BaseException:
            session.close("the fetch did not start")
            raise
        return encode(Fetching(session=session.id, subject=self._subject))

    async def _open(self, session: Session, request: Fetch) -> None:
        entry = await self._bus.kv(HOSTS.name).get(request.host)
        if entry is None:
            raise CannotFetch(f"host {request.host} is not in the cluster")
        found = read_value(_host_entry, HOSTS.name, Record(entry.revision, 0.0, entry.key, entry.value), self._bus.reading)
        if found is None:
            raise CannotFetch(f"the entry of host {request.host} cannot be read")
        address = split_address(found.address)
        if not self._key:
            self._key = await ensure_data_key(self._bus)
        key = job_key(self._key, request.job)
        try:
            async with asyncio.timeout(self._limits.connect_seconds):
                await connect(address, Identity(self._name, CLIENT), key, session, request.job)
        except (LinkRefused, TimeoutError) as error:
            raise CannotFetch(f"the publisher cannot reach host {request.host} at {address[0]}:{address[1]} either: {error}") from None

    async def _piece(self, data: bytes) -> bytes:
        session = self._sessions.get(data.decode(errors="replace"))
        if session is None:
            raise CannotFetch("no such fetch: it is over, or the client did not ask for pieces in time")
        return await session.piece()

    def _ended(self, session: Session) -> None:
        if self._sessions.pop(session.id, None) is not None:
            self._places.release()
            self._bus.pace.calm()

    def close(self) -> None:
        """End all fetches."""
        for session in list(self._sessions.values()):
            session.close("this publisher is stopping")


class Session:
    """One fetch. It owns its link, and answers its client's requests."""

    def __init__(self, request: Fetch, limits: FetchLimits, on_end: Callable[[Session], None]) -> None:
        self.id = secrets.token_hex(8)
        self._relay = Relay(request.job, dict(zip(request.datasets, request.attempts, strict=True)), limits)
        self._limits = limits
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._paused = False
        self._questions: deque[asyncio.Future[bytes | bytearray]] = deque()
        self._asked = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # --- the client ---------------------------------------------------------------------------------------------------------

    async def piece(self) -> bytes:
        """Return the next piece, if it arrives in time."""
        self._asked = self._loop.time()
        question: asyncio.Future[bytes | bytearray] = self._loop.create_future()
        self._questions.append(question)
        self._answer()
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                return bytes(await question)
        except TimeoutError:
            return NOTHING_YET
        finally:
            self._asked = self._loop.time()

    def _answer(self) -> None:
        """Answer the waiting requests with pieces, and pause or resume the link."""
        while self._questions:
            if self._questions[0].done():  # its time is over
                self._questions.popleft()
                continue
            piece = self._relay.take_piece()
            if piece is None:
                break
            self._questions.popleft().set_result(piece)
            if piece == END:
                self.close("its client has everything")
        self._throttle()

    def _throttle(self) -> None:
        if self._link is not None and self._relay.full != self._paused:
            self._paused = self._relay.full
            if self._paused:
                self._link.pause()
            else:
                self._link.resume()

    def _look(self) -> None:
        """End the fetch of a client that has gone, which sends no more requests."""
        left = self._asked + self._limits.idle_seconds - self._loop.time()
        waiting = any(not question.done() for question in self._questions)
        if left > 0 or waiting:
            self._timer = self._loop.call_later(max(left, self._limits.answer_seconds), self._look)
        else:
            self.close("its client has gone")

    def close(self, reason: str) -> None:
        """End the fetch."""
        if self._timer is not None:
            self._timer.cancel()
        if self._link is not None:
            self._link.close(reason)
        self._on_end(self)

    # --- the link -----------------------------------------------------------------------------------------------------------

    def link_opened(self, link: Link) -> None:
        """Ask for all datasets. From here on, the client must send requests, too."""
        self._link = link
        link.send(self._relay.first_message())
        self._asked = self._loop.time()
        self._look()

    def link_closed(self, link: Link, reason: str) -> None:
        """Report that the missing datasets will not come."""
        self._link = None
        self._relay.closed()
        self._answer()

    def frame_received(self, link: Link, frame: Frame, payload: memoryview) -> None:
        """Process a frame, and grant the next dataset."""
        grant = self._relay.frame(frame, payload)
        if self._relay.over:
            self._link = None
            link.close("all data has arrived")
        elif grant is not None:
            link.send(grant)
        self._answer()

    def data_sink(self, link: Link, frame: Data, nbytes: int) -> Place | None:
        """Pass on granted data as it arrives."""
        return Place(None, self._write) if self._relay.expects(frame, nbytes) else None

    def _write(self, data: memoryview, start: int) -> None:
        self._relay.write(data, start)
        self._answer()
