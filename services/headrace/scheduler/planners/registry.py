"""All planners by name."""

from __future__ import annotations

from headrace.scheduler.planners.portfolio import MEMBERS, Planner, portfolio

PLANNERS: dict[str, Planner] = {**MEMBERS, "portfolio": portfolio}
"""The planners that can be asked for. Each is a pure function."""
