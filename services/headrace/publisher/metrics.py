"""The publisher's metrics."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.publisher.state import Publisher
from headrace.telemetry import Family, counter, gauge


def families(publisher: Publisher) -> Iterator[Family]:
    """How things stand. Only who leads knows."""
    yield counter("headrace_outputs_published_total", "Outputs announced since this publisher leads.", publisher.announced)
    due = sum(len(lane.due) for lanes in (publisher.jobs, publisher.sinks) for lane in lanes.values())
    yield gauge("headrace_outputs_due", "Outputs that exist and are not announced yet.", due)
