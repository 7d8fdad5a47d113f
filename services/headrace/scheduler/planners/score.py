"""Which of two plans is better: one that fits the memory of the hosts, then the shorter one, then the one that moves fewer bytes."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.scheduler.planners.plan import Plan


def score(plan: Plan) -> tuple[bool, float, float]:
    """Return what plans are compared by: the lower, the better."""
    return (not plan.fits, plan.makespan, plan.bytes_moved)


def best_of(plans: Iterable[Plan]) -> Plan:
    """Return the best plan; the first one of equals. Raises ValueError if there is none."""
    return min(plans, key=score)
