"""A log read again: what happened, line by line, and where it led. Pure functions over entries; the command line prints what they return.

Whether the controller's decisions follow from the log is checked by `controller.replay`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from headrace.ledger.fold import Ledger, LogEntry
from headrace_schemas import (
    Admitted,
    Assign,
    CancelAsked,
    Ended,
    Events,
    HostJoined,
    HostLost,
    LogMessage,
    Needed,
    Plan,
    Published,
    Purge,
    Released,
    Reroute,
    Revoke,
)

SHOWN = 8
"""Ids shown of a list; more are counted."""


class Line(NamedTuple):
    """One entry of the log for people. seconds: since the first entry. who: the service or host that wrote it."""

    seq: int
    seconds: float
    who: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.seq:>8} {self.seconds:>9.3f} s  {self.who:<12} {self.kind:<12} {self.text}"


def timeline(entries: Iterable[LogEntry]) -> list[Line]:
    """What each entry says, in the order of the log."""
    lines: list[Line] = []
    start: float | None = None
    for entry in entries:
        start = entry.time if start is None else start
        message = entry.message
        kind = str(message.__struct_config__.tag)
        lines.append(Line(entry.seq, entry.time - start, writer(message), kind, describe(message)))
    return lines


def final_state(entries: Iterable[LogEntry]) -> Ledger:
    """What is true after the last entry."""
    ledger = Ledger()
    for entry in entries:
        ledger.fold(entry)
    return ledger


def writer(message: LogMessage) -> str:
    """Who wrote a message: a service, or the name of a host."""
    if isinstance(message, Events):
        return message.host
    if isinstance(message, Plan | Assign | Revoke | Reroute):
        return "scheduler"
    return "publisher" if isinstance(message, Published) else "controller"


def describe(message: LogMessage) -> str:
    """What a message says, in one line."""
    return _DESCRIPTIONS[type(message)](message)


def _ids(ids: list[int]) -> str:
    shown = " ".join(map(str, ids[:SHOWN]))
    return shown if len(ids) <= SHOWN else f"{shown} ... ({len(ids)})"


def _events(events: Events) -> str:
    columns = {
        "started": events.started,
        "done": events.done,
        "chains done": events.chains,
        "produced": events.produced,
        "values": events.value_ids,
        "copied": events.copied,
        "revoked": events.revoked,
        "kept": events.kept,
        "gone": events.gone,
    }
    parts = [f"{what} {_ids(ids)}" for what, ids in columns.items() if ids]
    parts += [f"failed {error.name or error.task} attempt {error.attempt} ({error.reason}): {error.error}" for error in events.failed]
    parts += [f"cannot reach {host}" for host in events.unreachable]
    return "; ".join(parts) or "nothing but its memory"


def _ended(ended: Ended) -> str:
    return f"{ended.state}: {ended.reason}" if ended.reason else ended.state


def _plan(plan: Plan) -> str:
    part = f", part {plan.part + 1} of {plan.parts}" if plan.parts > 1 else ""
    return f"{len(plan.lengths)} chains of {len(plan.tasks)} tasks on {' '.join(plan.hosts)} by {plan.planner}{part}"


_DESCRIPTIONS: dict[type[Any], Callable[[Any], str]] = {
    Admitted: lambda m: f"{m.name!r}, {m.n_tasks} tasks" + (f", of {m.client}" if m.client else ""),
    Needed: lambda m: f"tasks {_ids(m.tasks)} again: {m.reason}",
    Ended: _ended,
    Released: lambda m: f"outputs {_ids(m.datasets)}" if m.datasets else "all outputs",
    CancelAsked: lambda m: m.reason or "no reason given",
    Purge: lambda m: f"{m.host}: datasets {_ids(m.datasets)}",
    HostJoined: lambda m: f"{m.host} (epoch {m.epoch}) at {m.address}, {m.runners} runners",
    HostLost: lambda m: f"{m.host} (epoch {m.epoch}): {m.reason or 'no reason known'}",
    Plan: _plan,
    Assign: lambda m: f"{m.host}: chains {_ids(m.chains)}, {len(m.tasks)} tasks",
    Revoke: lambda m: f"{m.host}: chains {_ids(m.chains)}",
    Reroute: lambda m: f"{m.host}: datasets {_ids(m.datasets)} from elsewhere",
    Events: _events,
    Published: lambda m: f"outputs {_ids([output.dataset for output in m.outputs])}",
}
