"""The publisher's metrics."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.publisher.state import Publisher
from headrace.telemetry import Family, counter, gauge


def families(publisher: Publisher) -> Iterator[Family]:
    """Yield the metrics of a publisher that leads."""
    yield counter("headrace_outputs_published_total", "Outputs announced since this publisher became the leader.", publisher.announced)
    due = sum(len(lane.due) for lanes in (publisher.jobs, publisher.sinks) for lane in lanes.values())
    yield gauge("headrace_outputs_due", "Outputs that exist but are not announced yet.", due)
