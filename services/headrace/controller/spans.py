"""The controller's spans: requests that it wrote into the log, recoveries, and ends of jobs. See `headrace.telemetry.tracing`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from headrace.bus import Entry
from headrace.controller.notes import Asked
from headrace.controller.state import Decided
from headrace.telemetry.tracing import now
from headrace_schemas import Ended, Needed, Submitted
from headrace_schemas.streams import REQUESTS

if TYPE_CHECKING:
    from headrace.telemetry.spans import Tracing


def processing(tracing: Tracing, note: Asked, headers: bytes) -> Callable[[asyncio.Future[None]], None]:
    """Begin the span of a request. The caller ends it by calling the result, once the log has the request."""
    began = now()
    job = note.message.job
    tracing.learn(job, headers)

    def done(_: asyncio.Future[None]) -> None:
        tracing.processed(job, REQUESTS.name, began, {"headrace.request": type(note.message).__name__})

    return done


def begin_adopted(tracing: Tracing, entries: list[Entry]) -> None:
    """Begin a root span for each submitted job whose client makes no traces."""
    for entry in entries:
        if isinstance(entry.message, Submitted):
            tracing.begin_adopted(entry.message.job, entry.message.name)


def trace_decisions(tracing: Tracing, decisions: list[Decided], began: int) -> None:
    """Make spans for decisions that tasks are needed and that jobs end. Purges are too frequent. began: start, in ns since 1970."""
    for decision in decisions:
        if isinstance(decision, Needed):
            about = {"headrace.tasks": len(decision.tasks), "headrace.reason": decision.reason}
            tracing.span(decision.job, "recover", began, about)
        elif isinstance(decision, Ended):
            tracing.span(decision.job, "end job", began, {"headrace.state": decision.state}, error=_why(decision))
            tracing.finish(decision.job, _why(decision))


def _why(ended: Ended) -> str:
    return "" if ended.state == "done" else ended.reason or (ended.error.error if ended.error is not None else ended.state)
