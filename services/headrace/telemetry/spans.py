"""The spans of one process, by job. `headrace.telemetry.tracing` imports this module only if traces are on."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from headrace.telemetry.tracing import SPANS_PER_KIND, TRACEPARENT, now
from headrace_schemas import TaskError

CLOSE_SECONDS = 0.8
"""Seconds that a process waits at its end until its last spans are sent. A local cluster waits longer for its services."""
LINGER_SECONDS = 0.05
"""Seconds for which spans are collected, to create them together."""
JOBS_REMEMBERED = 10_000
"""Jobs whose trace a process remembers; it forgets the oldest."""
_propagator = TraceContextTextMapPropagator()
_HEADER = re.compile(rb"\r\n%s:[ \t]*(00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})[ \t]*\r\n" % TRACEPARENT)
"""The line of a `traceparent`, https://www.w3.org/TR/trace-context/"""
Attributes = Mapping[str, Any]
_Waiting = tuple["_Job", str, SpanKind, dict[str, Any], "TaskError | str | None", int, int]


class _Job:
    """The trace of one job: the parent of its spans, and how many spans there were."""

    __slots__ = ("_context", "header", "omitted", "parent", "sampled", "spans")

    def __init__(self, parent: str) -> None:
        self.parent = parent
        """The value of the header `traceparent`."""
        self.header = f"traceparent:{parent}\r\n"
        self.sampled = int(parent[53:55], 16) & 1 == 1
        self._context: Context | None = None
        self.spans: dict[str, int] = {}
        self.omitted: dict[str, tuple[int, int]] = {}
        """Per name: how many spans were omitted, and their nanoseconds in total."""

    @property
    def context(self) -> Context:
        """The parent context of its spans, created with the first span."""
        if self._context is None:
            self._context = _propagator.extract({"traceparent": self.parent}, Context())
        return self._context


class JobIds(RandomIdGenerator):
    """Random ids, except for a span whose trace id and span id are `given`."""

    given: tuple[int, int] | None = None

    def generate_trace_id(self) -> int:
        """Return the given trace id, or a random one."""
        return self.given[0] if self.given is not None else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Return the given span id once, or a random one."""
        given, self.given = self.given, None  # the SDK calls this method last
        return given[1] if given is not None else super().generate_span_id()


def _ids_of(job: str) -> tuple[int, int]:
    """Return the trace id and the root span's id of a job whose client creates no trace."""
    digest = sha256(job.encode()).hexdigest()
    return int(digest[:32], 16), int(digest[32:48], 16)


def _header_of(job: str, sampled: bool) -> str:
    """Return the value of the header `traceparent` for such a job."""
    trace_id, span_id = _ids_of(job)
    return f"00-{trace_id:032x}-{span_id:016x}-{int(sampled):02x}"


class Tracing:
    """Creates the spans of one process. Only one thread may use it, except for `begin` and `close`.

    Times are nanoseconds since 1970, as of `tracing.now`.
    """

    def __init__(self, provider: TracerProvider, own: bool) -> None:
        self._provider = provider
        self._own = own
        self._tracer = provider.get_tracer("headrace")
        self._jobs: dict[str, _Job] = {}
        self._roots: dict[str, Span] = {}
        self._waiting: list[_Waiting] = []
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def open(cls, name: str) -> Tracing:
        """Open the tracing of a service.

        It uses the provider of the application, if it set one up, or else one that sends by OTLP over HTTP, configured by the standard
        OTEL_ variables.
        """
        provider = trace.get_tracer_provider()
        if isinstance(provider, TracerProvider):
            return cls(provider, own=False)
        service, _, instance = name.removeprefix("headrace-").partition("-")
        resource = Resource.create({"service.name": f"headrace-{service}", **({"service.instance.id": instance} if instance else {})})
        provider = TracerProvider(resource=resource, id_generator=JobIds(), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider, own=True)

    def close(self) -> None:
        """End the root spans of jobs that nobody follows any more, record the omitted spans, and send the rest within CLOSE_SECONDS."""
        self._make()
        for job in self._jobs:
            self.over(job)
        for job in list(self._roots):
            self.finish(job)
        if not self._own:
            return
        sending = threading.Thread(target=self._provider.shutdown, name="headrace-spans", daemon=True)
        sending.start()
        sending.join(CLOSE_SECONDS)

    # --- where spans belong -------------------------------------------------------------------------------------------

    def begin_job(self, job: str, name: str) -> str:
        """Begin the root span of a job, in the caller's current span if there is one. Returns the header line to send."""
        root = self._tracer.start_span(f"job {name}" if name else "job", attributes={"headrace.job": job})
        self._roots[job] = root
        context = root.get_span_context()
        flags = context.trace_flags
        return self._remember(job, f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}").header

    def adopt(self, job: str) -> None:
        """Derive the job's trace from its id, because its client creates no traces. All services derive the same trace."""
        sampled = self._provider.sampler.should_sample(None, _ids_of(job)[0], "job").decision is Decision.RECORD_AND_SAMPLE
        self._remember(job, _header_of(job, sampled))

    def begin_adopted(self, job: str, name: str) -> None:
        """Begin the root span of a job that was adopted; do nothing for other jobs. One service does that."""
        known, ids = self._jobs.get(job), self._provider.id_generator
        if known is not None and isinstance(ids, JobIds) and known.parent == _header_of(job, known.sampled):
            ids.given = _ids_of(job)
            self._roots[job] = self._tracer.start_span(f"job {name}" if name else "job", Context(), attributes={"headrace.job": job})

    def finish(self, job: str, error: str = "") -> None:
        """End the root span of a job."""
        root = self._roots.pop(job, None)
        if root is not None:
            if error:
                root.set_status(Status(StatusCode.ERROR, error))
            root.end()

    def learn(self, job: str, headers: bytes) -> bool:
        """Read the headers of a message about a job. Returns whether the job's trace is known."""
        if job in self._jobs:
            return True
        found = _HEADER.search(headers)
        if found is None:
            return False
        self._remember(job, found[1].decode())
        return True

    def header(self, job: str) -> str:
        """Return the header line for a message about a job; empty if its trace is not known."""
        known = self._jobs.get(job)
        return known.header if known is not None else ""

    def _remember(self, job: str, parent: str) -> _Job:
        known = self._jobs[job] = _Job(parent)
        if len(self._jobs) > JOBS_REMEMBERED:
            del self._jobs[next(iter(self._jobs))]
        return known

    # --- spans --------------------------------------------------------------------------------------------------------

    def has_room(self, job: str, name: str) -> bool:
        """Return whether a span of this name would be created. Ask this before you take its times, if there may be many."""
        known = self._jobs.get(job)
        return known is not None and known.sampled and known.spans.get(name, 0) < SPANS_PER_KIND

    def omit(self, job: str, name: str, count: int, nanoseconds: int = 0) -> None:
        """Count spans that are omitted."""
        known = self._jobs.get(job)
        if known is not None and known.sampled:
            before = known.omitted.get(name, (0, 0))
            known.omitted[name] = before[0] + count, before[1] + nanoseconds

    def span(
        self,
        job: str,
        name: str,
        began: int,
        attributes: Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        error: TaskError | str | None = None,
    ) -> None:
        """Record a span of a job that ends now. error: the failure, with the remote traceback if it is a task's."""
        if not self.has_room(job, name):
            self.omit(job, name, 1, now() - began)
            return
        known = self._jobs[job]
        known.spans[name] = known.spans.get(name, 0) + 1
        self._waiting.append((known, name, kind, {"headrace.job": job, **attributes}, error, began, now()))
        self._later()

    def _later(self) -> None:
        """Create the waiting spans a little later, so that the caller's next message does not wait for them."""
        if self._timer is not None:
            return
        try:
            self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._make)
        except RuntimeError:  # no event loop, so nothing waits
            self._make()

    def _make(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, []
        for known, name, kind, attributes, error, began, ended in waiting:
            span = self._tracer.start_span(name, known.context, kind, attributes, start_time=began)
            if error:
                _record(span, error)
            span.end(ended)

    def sent(self, job: str, destination: str, began: int, attributes: Attributes) -> None:
        """Record that a message was published and stored. destination: a stream, or a family of subjects."""
        self.span(job, f"send {destination}", began, {**_messaging("send", destination), **attributes}, kind=SpanKind.PRODUCER)

    def processed(self, job: str, destination: str, began: int, attributes: Attributes) -> None:
        """Record that a received message was processed."""
        self.span(job, f"process {destination}", began, {**_messaging("process", destination), **attributes}, kind=SpanKind.CONSUMER)

    def over(self, job: str) -> None:
        """End the trace of a job that is over: add a span for each name of which spans were omitted."""
        known = self._jobs.get(job)
        if known is None:
            return
        for name, (count, nanoseconds) in known.omitted.items():
            about: dict[str, Any] = {"headrace.job": job, "headrace.omitted.count": count, "headrace.omitted.seconds": nanoseconds * 1e-9}
            self._tracer.start_span(f"{name} (others)", known.context, attributes=about).end()
        known.omitted.clear()


def _messaging(operation: str, destination: str) -> dict[str, str]:
    """Attributes by OpenTelemetry's semantic conventions for messaging."""
    return {
        "messaging.system": "nats",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": destination,
    }


def _record(span: Span, error: TaskError | str) -> None:
    if isinstance(error, str):
        span.set_status(Status(StatusCode.ERROR, error))
        return
    kind, _, message = error.error.partition(": ")
    about = {"exception.type": kind, "exception.message": message or error.error, "exception.stacktrace": error.traceback}
    span.add_event("exception", about)
    span.set_status(Status(StatusCode.ERROR, error.error))
