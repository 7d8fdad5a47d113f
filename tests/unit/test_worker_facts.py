"""What a host publishes of a job: columns that stay in step, in messages that are small enough."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.worker.agent.report import JobReport
from headrace_schemas import encode
from headrace_schemas.streams import INLINE_VALUE_BYTES, MAX_MESSAGE_BYTES

MARGIN = 1.5
"""A message's size is an estimate: no message is longer than so many times the limit."""


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(1, INLINE_VALUE_BYTES)), max_size=300), max_size=5))
def test_values_are_reported_once_in_order_and_no_message_is_too_large(batches):
    news: dict[str, None] = {}
    report, expected = JobReport("job", "h0", 1, news), []
    for batch in batches:
        start = len(expected)
        datasets = list(range(start, start + len(batch)))
        attempts = [attempt for attempt, _ in batch]
        values = [bytes(size) for _, size in batch]
        expected += zip(datasets, attempts, values, strict=True)
        is_output = [dataset % 2 == 0 for dataset in range(len(expected))]
        report.values(datasets, attempts if any(attempts) else [], values, is_output)
    assert report.urgent == bool(expected) == ("job" in news)
    messages = report.take(0)
    assert all(len(encode(events)) <= MARGIN * MAX_MESSAGE_BYTES for events in messages)
    found = []
    for events in messages:
        attempts = events.produced_attempts or [0] * len(events.produced)
        found += zip(events.produced, attempts, events.sizes, strict=True)
    assert found == [(dataset, attempt, len(value)) for dataset, attempt, value in expected]
    asked = [pair for events in messages for pair in zip(events.value_ids, events.values, strict=True)]
    assert asked == [(dataset, value) for dataset, _, value in expected if dataset % 2 == 0]


def test_what_is_urgent_stays_so_when_its_message_is_full():
    report = JobReport("job", "h0", 1, {})
    report.gone(0)
    report.values(list(range(1, 200)), [], [bytes(INLINE_VALUE_BYTES)] * 199, [False] + [True] * 199)
    report.chains_done([1])
    assert report.urgent
    assert len(report.take(0)) > 1
    assert not report.urgent
    assert not report.take(0)
