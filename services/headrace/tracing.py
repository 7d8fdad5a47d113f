"""OpenTelemetry traces: one per job, across all services.

On where OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or HEADRACE_TRACING is set (HEADRACE_TRACING=0 turns it off);
otherwise nothing of OpenTelemetry is imported, and no message is looked at for it.

The client's span of a job is the root, or a child of the caller's current span. Its W3C `traceparent` travels as a header of the submission
and of every message about the job, so it is in the log, and who restarts finds it there again. Every other span is a child of the root. A
job that was submitted without such a header has a trace that follows from its id, whose root the controller makes.

A job has at most SPANS_PER_KIND spans of each name from each process; of further ones the count and the seconds are told in one span at the
end of the job. So a job of 100,000 tasks makes some dozens of spans a host, and past those costs an addition a message.
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
"""What a person looks through; some 50 µs of work each, most of it in the exporter."""
TRACEPARENT = b"traceparent"
_ON = ("HEADRACE_TRACING", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_OFF = ("", "0", "false", "no", "off")

now = time.time_ns
"""The clock of spans: nanoseconds since 1970."""


def is_on(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether these variables ask for traces. HEADRACE_TRACING has the last word, but for OpenTelemetry's own OTEL_SDK_DISABLED."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    word, *endpoints = (environment.get(name) for name in _ON)
    return word.lower() not in _OFF if word else any(endpoints)


def open_tracing(name: str) -> Tracing | None:
    """What a process makes spans with, or None if nobody asked for any. name: the service, like "headrace-controller"."""
    if not is_on():
        return None
    from headrace.telemetry.spans import Tracing

    return Tracing.open(name)


def preload() -> None:
    """Import what is needed for traces, if they are asked for, so that services that are forked later need not."""
    if is_on():
        importlib.import_module("headrace.telemetry.spans")
