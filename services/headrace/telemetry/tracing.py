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
from typing import TYPE_CHECKING, ClassVar

import msgspec

from headrace.variables import read_settings

if TYPE_CHECKING:
    from headrace.telemetry.spans import Tracing

SPANS_PER_KIND = 40
"""As many spans as a person looks through. Each takes some 50 µs, most of it in the exporter."""
TRACEPARENT = b"traceparent"
_OFF = ("", "0", "false", "no", "off")

now = time.time_ns
"""The clock of spans: nanoseconds since 1970."""


class TracingSettings(msgspec.Struct, kw_only=True, frozen=True):
    """The variables that turn traces on or off. OpenTelemetry reads them as well, and others, once traces are on."""

    VARIABLES: ClassVar[dict[str, str]] = {
        "tracing": "HEADRACE_TRACING",
        "endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT",
        "traces_endpoint": "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "sdk_disabled": "OTEL_SDK_DISABLED",
    }

    tracing: str = ""
    """`1` turns traces on, `0` turns them off. By default they are on if one of the endpoints is set, so that nobody pays for traces that
    nobody receives."""
    endpoint: str = ""
    """URL of the OpenTelemetry collector, for all signals, like `http://otel-collector:4318`."""
    traces_endpoint: str = ""
    """URL of the collector for traces, if it is another one."""
    sdk_disabled: str = ""
    """`true` turns traces off, whatever the other variables say, as in every program with OpenTelemetry."""


def is_on(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether these variables turn traces on.

    HEADRACE_TRACING takes precedence over all except OpenTelemetry's own OTEL_SDK_DISABLED.
    """
    settings = read_settings(TracingSettings, environment)
    if settings.sdk_disabled.strip().lower() == "true":
        return False
    return settings.tracing.lower() not in _OFF if settings.tracing else bool(settings.endpoint or settings.traces_endpoint)


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
