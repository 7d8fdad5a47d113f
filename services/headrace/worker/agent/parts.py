"""Facts that are too large for one message, split into two messages.

Readers fold the columns of a message in a fixed order. The columns that come first in that order go into the first message, so that readers
come to the same result. A part that is still too large is split again.
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
"""The columns with facts, each after those that it refers to. Measured durations are left out, because no decision depends on them."""
PARALLEL = {group[0]: [column.rstrip("?") for column in group] for group in Events.columns}
"""For each of these columns that has parallel columns: all of them."""


def in_parts(events: Events) -> list[Events]:
    """Return the facts in two messages; an empty list if there is only one fact."""
    names = [name for name in ORDER if getattr(events, name)]
    if len(names) > 1:
        half = len(names) // 2
        return [_slice(events, names[:half], slice(None)), _slice(events, names[half:], slice(None))]
    half = sum(len(getattr(events, name)) for name in names) // 2
    return [_slice(events, names, slice(half)), _slice(events, names, slice(half, None))] if half else []


def _slice(events: Events, names: list[str], part: slice) -> Events:
    columns = {column: getattr(events, column)[part] for name in names for column in PARALLEL.get(name, [name])}
    return Events(job=events.job, host=events.host, epoch=events.epoch, about=events.about, memory_used=events.memory_used, **columns)
