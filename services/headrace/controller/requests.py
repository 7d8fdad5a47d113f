"""Requests of clients. The controller writes each into the log, or refuses it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from functools import partial

import msgspec

from headrace.bus import Bus, Record, read_value
from headrace.bus.later import Later
from headrace.controller.notes import Asked, note_of_request
from headrace.controller.spans import processing
from headrace.errors import TOO_LARGE, PublishRefused
from headrace.ledger import Ledger
from headrace.logs import get_log
from headrace_schemas import Cancel, Release, Request, decoder, subjects
from headrace_schemas.streams import LOG, REQUESTS

log = get_log(__name__)
_request: msgspec.json.Decoder[Cancel | Release] = decoder(Request)


class Requests:
    """Handles the requests that arrive in the queue during one term.

    refused: the number of refused requests, by reason. later: runs a function once the controller has published its decisions.
    """

    def __init__(self, bus: Bus, ledger: Ledger, term: int, later: Later) -> None:
        self._bus = bus
        self._ledger = ledger
        self._term = term
        self._later = later
        self.refused: Counter[str] = Counter()

    def on_request(self, record: Record) -> Awaitable[object]:
        """Write a request into the log. The result is done once the log has it, and the request may leave the queue.

        A request that can never be written is refused: it leaves the queue at once.
        """
        request = read_value(_request, REQUESTS.name, record, self._bus.reading)
        if request is None:
            self.refused["unreadable"] += 1
            return _nothing()
        note = note_of_request(request, self._ledger.last_seq, self._term)
        if self._ledger.knows(note.message.job):
            return self._write_down(note, record.headers)
        return self._write_down_if_submitted(note, record.headers)

    async def _write_down_if_submitted(self, note: Asked, headers: bytes) -> None:
        """Write a request for a job that the ledger does not know, if the log has its submission, which may not have been read yet."""
        job = note.message.job
        if await self._bus.last(LOG.name, subjects.submitted(job)) is None:
            self._refuse("unknown_job", f"there is no job {job!r} in the log")
        else:
            await self._write_down(note, headers)

    def _write_down(self, note: Asked, headers: bytes) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._bus.tracing is not None:
            done.add_done_callback(processing(self._bus.tracing, note, headers))
        self._bus.publish(note.subject, note.message, msg_id=note.msg_id).add_done_callback(partial(self._written, done))
        return done

    def _written(self, done: asyncio.Future[None], stored: asyncio.Future[int]) -> None:
        if stored.cancelled():
            done.cancel()
            return
        error = stored.exception()
        if isinstance(error, PublishRefused) and error.code in TOO_LARGE:
            self._refuse("too_large", error)
            error = None
        if error is not None:
            done.set_exception(error)
        else:
            self._later.do(partial(_finish, done))

    def _refuse(self, why: str, error: object) -> None:
        self.refused[why] += 1
        log.warning("refused a request of a client", why=why, error=error)


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


async def _nothing() -> None:
    """Return at once: the request needs no further work."""
