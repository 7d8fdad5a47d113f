"""Facts that are too large for one message, in two: what is folded first goes into the first, so that a reader comes to the same.

A part that is still too large comes here again.
"""

from __future__ import annotations

from headrace_schemas import Events

ORDER = (
    "metadata_ids",
    "typed",
    "produced",
    "value_ids",
    "copied",
    "started",
    "written",
    "done",
    "chains",
    "failed",
    "revoked",
    "kept",
    "gone",
    "unreachable",
)
"""Columns with facts; those that others refer to come before them. Measured durations are left out: nothing is decided by them."""
PARALLEL = {group[0]: [column.rstrip("?") for column in group] for group in Events.columns}
"""Per column of these that has parallel ones: all of them."""


def in_parts(events: Events) -> list[Events]:
    """The facts in two messages; none if there is only one fact."""
    names = [name for name in ORDER if getattr(events, name)]
    if len(names) > 1:
        half = len(names) // 2
        return [_slice(events, names[:half], slice(None)), _slice(events, names[half:], slice(None))]
    half = sum(len(getattr(events, name)) for name in names) // 2
    return [_slice(events, names, slice(half)), _slice(events, names, slice(half, None))] if half else []


def _slice(events: Events, names: list[str], part: slice) -> Events:
    columns = {column: getattr(events, column)[part] for name in names for column in PARALLEL.get(name, [name])}
    return Events(job=events.job, host=events.host, epoch=events.epoch, about=events.about, memory_used=events.memory_used, **columns)
