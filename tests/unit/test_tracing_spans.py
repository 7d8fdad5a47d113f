"""When traces are on, and which spans of a job are created."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from headrace.telemetry.spans import JOBS_REMEMBERED, SPANS_PER_KIND, JobIds, Tracing
from headrace.telemetry.tracing import is_on, now


@pytest.mark.parametrize(
    ("environment", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"HEADRACE_TRACING": "1"}, True),
        ({"HEADRACE_TRACING": "off", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        ({"HEADRACE_TRACING": "", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"HEADRACE_TRACING": "1", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_traces_are_on_where_they_can_be_sent_or_are_asked_for(environment: dict[str, str], on: bool) -> None:
    assert is_on(environment) is on


def made() -> tuple[Tracing, InMemorySpanExporter]:
    provider, exporter = TracerProvider(id_generator=JobIds()), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracing(provider, own=True), exporter


def test_a_header_carries_the_trace_to_another_process() -> None:
    (client, ours), (service, theirs) = made(), made()
    header = client.begin_job("j", "name")
    assert service.learn("j", f"NATS/1.0\r\nNats-Msg-Id:x\r\n{header}\r\n".encode())
    assert service.header("j") == header == client.header("j")
    service.span("j", "plan", now() - 1_000_000, {"headrace.chains": 2})
    client.finish("j", "it failed")
    (plan,), (root,) = theirs.get_finished_spans(), ours.get_finished_spans()
    assert plan.parent is not None
    assert (plan.parent.span_id, plan.context.trace_id) == (root.context.span_id, root.context.trace_id)
    assert plan.end_time - plan.start_time >= 1_000_000
    assert (root.name, root.status.description) == ("job name", "it failed")


def test_a_job_whose_client_makes_no_traces_has_one_trace_in_all_services() -> None:
    (controller, ours), (scheduler, theirs) = made(), made()
    for service in (controller, scheduler):
        service.adopt("j")
    assert controller.header("j") == scheduler.header("j") != ""
    controller.begin_adopted("j", "name")
    scheduler.span("j", "plan", now(), {})
    scheduler.over("j")
    scheduler.close()
    controller.finish("j")
    (root,), (plan,) = ours.get_finished_spans(), theirs.get_finished_spans()
    assert (root.name, root.parent) == ("job name", None)
    assert plan.parent is not None
    assert (plan.parent.span_id, plan.context.trace_id) == (root.context.span_id, root.context.trace_id)
    another = controller.begin_job("another", "of a client")
    controller.begin_adopted("another", "of a client")
    controller.finish("another")
    (_, root) = ours.get_finished_spans()
    assert f"{root.context.trace_id:032x}" in another


@pytest.mark.parametrize(
    "headers",
    [b"", b"NATS/1.0\r\nNats-Msg-Id:x\r\n\r\n", b"NATS/1.0\r\ntraceparent:00-nonsense\r\n\r\n", b"\xff\r\ntraceparent:\xff\r\n"],
)
def test_a_job_without_a_trace_makes_no_spans(headers: bytes) -> None:
    service, spans = made()
    assert not service.learn("j", headers)
    assert service.header("j") == ""
    service.span("j", "plan", now(), {})
    service.over("j")
    assert not spans.get_finished_spans()


def test_past_the_limit_spans_are_counted_by_name() -> None:
    service, spans = made()
    service.begin_job("j", "large")
    for _ in range(SPANS_PER_KIND + 3):
        service.span("j", "execute chain", now() - 500_000_000, {})
    service.span("j", "plan", now(), {})
    service.omit("j", "execute chain", 10, 2_000_000_000)
    service.over("j")
    service.over("j")
    names = [span.name for span in spans.get_finished_spans()]
    assert names == ["execute chain"] * SPANS_PER_KIND + ["plan", "execute chain (others)"]
    others = spans.get_finished_spans()[-1].attributes
    assert others is not None
    assert others["headrace.omitted.count"] == 13
    assert others["headrace.omitted.seconds"] == pytest.approx(3.5, abs=0.1)


def test_the_oldest_jobs_are_forgotten() -> None:
    service, _ = made()
    header = service.begin_job("first", "")
    for k in range(JOBS_REMEMBERED):
        service.learn(f"job-{k}", f"NATS/1.0\r\n{header}\r\n".encode())
    assert service.header("first") == ""
    assert service.header("job-0") == header


def test_roots_that_nobody_finished_end_with_the_process() -> None:
    service, spans = made()
    service.begin_job("j", "left")
    service.close()
    assert [span.name for span in spans.get_finished_spans()] == ["job left"]
