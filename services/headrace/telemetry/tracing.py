"""OpenTelemetry traces: one per job, across all services.

Traces are on if OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or HEADRACE_TRACING is set (HEADRACE_TRACING=0 turns them
off). Otherwise no process imports OpenTelemetry or reads the headers of messages for it.

The client's span of a job is the root, or a child of the caller's current span. Its W3C `traceparent` travels as a header of the submission
and of every message about the job. So it is in the log, and a service that restarts finds it there. Every other span is a child of the
root. A job that was submitted without such a header has a trace that follows from its id; the controller creates its root.

A job has at most SPANS_PER_KIND spans of each name from each process. One span at the end of the job has the count and the seconds of all
further ones. So a job of 100,000 tasks creates some dozens of spans per host, and each further one costs an addition per message.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.telemetry.spans import Tracing

SPANS_PER_KIND = 40
"""As many spans as a person looks through. Each takes some 50 µs, most of it in the exporter."""
TRACEPARENT = b"traceparent"
_ON = ("HEADRACE_TRACING", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_OFF = ("", "0", "false", "no", "off")

now = time.time_ns
"""The clock of spans: nanoseconds since 1970."""


def is_on(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether these variables turn traces on. HEADRACE_TRACING takes precedence over all except OpenTelemetry's own
    OTEL_SDK_DISABLED."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    word, *endpoints = (environment.get(name) for name in _ON)
    return word.lower() not in _OFF if word else any(endpoints)


def open_tracing(name: str) -> Tracing | None:
    """Return the object that creates a process's spans, or None if traces are off. name: the service, like "headrace-controller"."""
    if not is_on():
        return None
    from headrace.telemetry.spans import Tracing

    return Tracing.open(name)


def preload() -> None:
    """Import OpenTelemetry if traces are on, so that services that are forked later need not."""
    if is_on():
        importlib.import_module("headrace.telemetry.spans")
