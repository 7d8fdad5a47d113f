"""Spans of the scheduler: plans, and what is released to hosts. See `headrace.telemetry.tracing`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from headrace_schemas import Assign, Decision, Plan, Reroute, Revoke

if TYPE_CHECKING:
    from headrace.telemetry.spans import Tracing


def trace_decisions(tracing: Tracing, decisions: Iterable[Decision], began: int) -> None:
    """What was decided since `began`: a plan in several messages is one span, at its last part."""
    for message in decisions:
        if isinstance(message, Plan):
            if message.part == message.parts - 1:
                about = {"headrace.planner": message.planner, "headrace.chains": message.first + len(message.lengths)}
                tracing.span(message.job, "plan", began, about)
        elif isinstance(message, Assign):
            about = {"headrace.host": message.host, "headrace.chains": len(message.chains), "headrace.tasks": len(message.tasks)}
            tracing.span(message.job, "release window", began, about)
        elif isinstance(message, Reroute | Revoke):
            tracing.span(message.job, type(message).__name__.lower(), began, {"headrace.host": message.host})
