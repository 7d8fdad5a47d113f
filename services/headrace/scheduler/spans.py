"""The scheduler's spans: plans, releases, reroutes and revocations. See `headrace.telemetry.tracing`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from headrace_schemas import Assign, Decision, Plan, Reroute, Revoke

if TYPE_CHECKING:
    from headrace.telemetry.spans import Tracing


def trace_decisions(tracing: Tracing, decisions: Iterable[Decision], began: int) -> None:
    """Make a span for each decision. began: its start, in ns since 1970."""
    for message in decisions:
        _TRACES[type(message)](tracing, message, began)


def _trace_plan(tracing: Tracing, plan: Plan, began: int) -> None:
    """Make one span for a plan in several messages, at its last part."""
    if plan.part == plan.parts - 1:
        about = {"headrace.planner": plan.planner, "headrace.chains": plan.first + len(plan.lengths)}
        tracing.span(plan.job, "plan", began, about)


def _trace_assign(tracing: Tracing, assign: Assign, began: int) -> None:
    about = {"headrace.host": assign.host, "headrace.chains": len(assign.chains), "headrace.tasks": len(assign.tasks)}
    tracing.span(assign.job, "release window", began, about)


def _trace_order(tracing: Tracing, order: Reroute | Revoke, began: int) -> None:
    tracing.span(order.job, type(order).__name__.lower(), began, {"headrace.host": order.host})


_TRACES: dict[type[Any], Callable[[Tracing, Any, int], None]] = {
    Plan: _trace_plan,
    Assign: _trace_assign,
    Reroute: _trace_order,
    Revoke: _trace_order,
}
"""The function that makes the span of each type of decision."""
