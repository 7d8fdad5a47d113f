"""Traces of a real cluster, received as OTLP over HTTP: one per job, whose spans join up."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

import headrace as hr
from headrace.telemetry.spans import SPANS_PER_KIND

WAIT = 30.0


class Span:
    """A span that was received, and the service that made it."""

    def __init__(self, service: str, instance: str, message: Any) -> None:
        self.service, self.instance, self.name = service, instance, message.name
        self.trace, self.id, self.parent = message.trace_id, message.span_id, message.parent_span_id
        self.seconds = (message.end_time_unix_nano - message.start_time_unix_nano) * 1e-9
        self.about = {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in message.attributes}
        self.failed = message.status.code == message.status.STATUS_CODE_ERROR
        self.events = [(event.name, {item.key: item.value.string_value for item in event.attributes}) for event in message.events]


class Collector:
    """Takes spans. They may be read once the cluster is closed."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def take(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {item.key: item.value.string_value for item in group.resource.attributes}
            for scope in group.scope_spans:
                self.spans += [Span(about["service.name"], about.get("service.instance.id", ""), span) for span in scope.spans]

    def of(self, job: str) -> list[Span]:
        return [span for span in self.spans if span.about.get("headrace.job") == job]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Receives what is sent to the endpoint that the environment names."""
    found = Collector()

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield found
    server.shutdown()
    server.server_close()


def make(seed: int) -> np.ndarray:
    return np.full(1 << 18, seed, dtype=np.float64)


def double(array: np.ndarray) -> np.ndarray:
    return array * 2


def both(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return left + right


def fail() -> None:
    raise ValueError("no such ocean")


def number(k: int) -> int:
    return k


def test_one_trace_a_job_joins_up_across_all_services(collector: Collector) -> None:
    with hr.Cluster.local(hosts=2) as cluster:
        good = hr.Graph("good")
        chains = [good.add(double, good.add(make, k)) for k in range(4)]
        for k, (left, right) in enumerate([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]):
            good.output(good.add(both, chains[left], chains[right], name=f"both-{k}"))
        done = cluster.submit(good)
        assert done.results(WAIT)["both-5"][0] == 10.0
        bad = hr.Graph("bad")
        bad.add(fail, name="doomed")
        failing = cluster.submit(bad)
        with pytest.raises(hr.JobFailed):
            failing.results(WAIT)
        long = hr.Graph("long")
        long.add(time.sleep, WAIT)
        cancelled = cluster.submit(long)
        assert cancelled.cancel("not needed")
        with pytest.raises(hr.JobCancelled):
            cancelled.results(WAIT)
    for job in (done.id, failing.id, cancelled.id):
        spans = collector.of(job)
        assert len({span.trace for span in spans}) == 1
        ids = {span.id for span in spans}
        (root,) = [span for span in spans if not span.parent]
        assert root.service == "headrace-client"
        assert all(span.parent in ids for span in spans if span is not root)
    assert not {span.trace for span in collector.of(done.id)} & {span.trace for span in collector.of(failing.id)}
    _check_done(collector.of(done.id))
    _check_failed(collector.of(failing.id))
    assert {"send LOG", "send REQUESTS", "process REQUESTS", "end job"} <= {span.name for span in collector.of(cancelled.id)}


def _check_done(spans: list[Span]) -> None:
    said = {(span.service, span.instance, span.name) for span in spans if span.service in ("headrace-worker",)}
    said |= {(span.service, "", span.name) for span in spans}
    for expected in (
        ("headrace-client", "", "job good"),
        ("headrace-client", "", "send LOG"),
        ("headrace-client", "", "fetch results"),
        ("headrace-controller", "", "end job"),
        ("headrace-scheduler", "", "plan"),
        ("headrace-scheduler", "", "release window"),
        ("headrace-worker", "host-0", "execute chain"),
        ("headrace-worker", "host-1", "execute chain"),
        ("headrace-worker", "", "send dataset"),
        ("headrace-worker", "", "receive dataset"),
        ("headrace-publisher", "", "send headrace.output"),
    ):
        assert expected in said
    assert not any(span.failed for span in spans)
    chains = [span for span in spans if span.name == "execute chain"]
    assert sum(span.about["headrace.tasks"] for span in chains) == 14
    sent, received = ([s for s in spans if s.name == name] for name in ("send dataset", "receive dataset"))
    assert {(s.instance, s.about["headrace.peer"], s.about["headrace.dataset"]) for s in received} <= {
        (s.about["headrace.peer"], s.instance, s.about["headrace.dataset"]) for s in sent
    }
    submissions = [span for span in spans if span.name == "send LOG"]
    assert submissions[0].about["messaging.system"] == "nats"
    assert submissions[0].about["messaging.destination.name"] == "LOG"


def _check_failed(spans: list[Span]) -> None:
    assert {"send LOG", "end job"} <= {span.name for span in spans}
    (failed,) = [span for span in spans if span.name == "task failed"]
    assert failed.service == "headrace-worker"
    assert failed.about["headrace.task"] == "doomed"
    ((name, exception),) = failed.events
    assert name == "exception"
    assert (exception["exception.type"], exception["exception.message"]) == ("ValueError", "no such ocean")
    assert 'raise ValueError("no such ocean")' in exception["exception.stacktrace"]
    (root,) = [span for span in spans if not span.parent]
    assert root.failed


def test_a_large_job_makes_some_spans_and_counts_the_others(collector: Collector) -> None:
    n = 5_000
    with hr.Cluster.local(hosts=1) as cluster:
        graph = hr.Graph("large")
        graph.output(*(graph.add(number, k, name=f"number-{k}") for k in range(n)))
        job = cluster.submit(graph)
        assert len(job.results(WAIT)) == n
    spans = collector.of(job.id)
    chains = [span for span in spans if span.name == "execute chain"]
    (others,) = [span for span in spans if span.name == "execute chain (others)"]
    assert len(chains) == SPANS_PER_KIND
    assert len(chains) + others.about["headrace.omitted.count"] == n
    assert len(spans) < 4 * SPANS_PER_KIND


def test_the_callers_span_is_the_parent(collector: Collector) -> None:
    with hr.Cluster.local(hosts=1) as cluster, TracerProvider().get_tracer("app").start_as_current_span("app") as caller:
        graph = hr.Graph("called")
        graph.add(number, 1)
        job = cluster.submit(graph)
        job.results(WAIT)
    context = caller.get_span_context()
    (root,) = [span for span in collector.of(job.id) if span.name == "job called"]
    assert (int.from_bytes(root.trace), int.from_bytes(root.parent)) == (context.trace_id, context.span_id)
    assert {span.trace for span in collector.of(job.id)} == {root.trace}
    assert "headrace-worker" in {span.service for span in collector.of(job.id)}


def test_what_the_client_does_not_sample_makes_no_span_anywhere(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    with hr.Cluster.local(hosts=1) as cluster:
        graph = hr.Graph("unsampled")
        graph.add(number, 1)
        cluster.submit(graph).results(WAIT)
    assert collector.spans == []


@pytest.mark.parametrize("off", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "HEADRACE_TRACING": "0"}])
def test_without_an_endpoint_nothing_is_imported(monkeypatch: pytest.MonkeyPatch, off: dict[str, str]) -> None:
    def imported() -> list[str]:
        import sys

        return sorted({name.partition(".")[0] for name in sys.modules} & {"opentelemetry"})

    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "HEADRACE_TRACING"):
        monkeypatch.delenv(name, raising=False)
    for name, value in off.items():
        monkeypatch.setenv(name, value)
    with hr.Cluster.local(hosts=1) as cluster:
        graph = hr.Graph("quiet")
        graph.add(imported, name="imported")
        assert cluster.submit(graph).results(WAIT) == {"imported": []}
