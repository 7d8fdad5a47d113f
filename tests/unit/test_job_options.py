"""A job's options, in messages of this release, of older clients and services, and for older readers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.bus import Entry
from headrace.ledger import SUNK, JobLedger
from headrace.scheduler.settings import Settings
from headrace.scheduler.state import Scheduler
from headrace.worker.agent.events import LogRead
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings as WorkerSettings
from headrace_schemas import Assign, GraphSource, HostJoined, JobOptions, LogMessage, SinkSpec, Submitted, decoder, encode
from headrace_schemas.options import DEFAULTS, options_of
from headrace_shm import Store
from tests.scheduler_graphs import flat

SINK, OTHER = SinkSpec(path="/data/{name}.npy"), SinkSpec(path="/old/{name}.npy")
JOINED = HostJoined(at=0, term=1, host="a", epoch=7, address="a:1", runners=1, capacity=1)
OPTIONS = JobOptions(sink=SINK)


def submitted(options: JobOptions | None, old: SinkSpec | None, n_tasks: int = 1, key: str = "") -> Submitted:
    """A submission, as it is read from the log. old: the sink where older releases have it."""
    graph = GraphSource(inline=flat(n_tasks), key=key, sink=old)
    message: Submitted = decoder(LogMessage).decode(encode(Submitted(job="j", name="g", n_tasks=n_tasks, graph=graph, options=options)))
    return message


def assigned(message: Submitted) -> Assign:
    """The first assignment of the job, as its host reads it."""
    scheduler = Scheduler(Settings(), 3)
    scheduler.fold([Entry(1, 0.0, "", JOINED), Entry(2, 0.0, "", message)])
    (assign,) = [decision for decision in scheduler.decide() if isinstance(decision, Assign)]
    found: Assign = decoder(LogMessage).decode(encode(assign))
    return found


@pytest.mark.parametrize(
    ("options", "graph", "expected"),
    [
        (OPTIONS, GraphSource(), OPTIONS),
        (OPTIONS, GraphSource(sink=OTHER), OPTIONS),
        (JobOptions(), GraphSource(sink=OTHER), JobOptions()),
        (None, GraphSource(sink=OTHER), JobOptions(sink=OTHER)),
        (None, GraphSource(), DEFAULTS),
        (None, None, DEFAULTS),
    ],
    ids=["new", "both", "new and empty", "old", "none", "no graph"],
)
def test_the_old_field_counts_only_without_options(options: JobOptions | None, graph: GraphSource | None, expected: JobOptions) -> None:
    assert options_of(options, graph) == expected


@pytest.mark.parametrize("message", [submitted(None, SINK), submitted(OPTIONS, None), submitted(OPTIONS, SINK)], ids=["old", "new", "both"])
def test_a_job_has_its_sink_whichever_release_submitted_it(message: Submitted) -> None:
    job = JobLedger(message, 0.0)
    assert job.options == OPTIONS
    assert job.sinks.default == SINK
    assert job.flags.tolist() == [SUNK]


@pytest.mark.parametrize("n_tasks", [1, 5])
@pytest.mark.parametrize("key", ["", "0" * 64], ids=["inline", "by key"])
@pytest.mark.parametrize("old", [None, SINK], ids=["without the old field", "with it"])
@pytest.mark.parametrize("options", [None, OPTIONS], ids=["without options", "with them"])
def test_the_first_assignment_has_the_sink_for_hosts_of_either_release(
    options: JobOptions | None, old: SinkSpec | None, key: str, n_tasks: int
) -> None:
    assign = assigned(submitted(options, old, n_tasks, key))
    assert assign.graph is not None
    expected = OPTIONS if options or old else None
    assert (assign.options, assign.graph.sink) == (expected, SINK if expected else None)
    assert (assign.graph.key, assign.graph.inline is None) == (key, bool(key))


@pytest.mark.parametrize(("options", "old"), [(OPTIONS, None), (OPTIONS, OTHER), (None, SINK)], ids=["new", "both", "old"])
def test_a_host_opens_the_job_with_its_sink(options: JobOptions | None, old: SinkSpec | None) -> None:
    agent = Agent(WorkerSettings(host="a", runners=1), JOINED.epoch, Store(1 << 20, 1 << 22))
    assign = assigned(submitted(OPTIONS, None))
    agent.handle(LogRead([msgspec.structs.replace(assign, options=options, graph=GraphSource(inline=flat(1), sink=old))]))
    assert agent.jobs["j"].sinks.default == SINK


def test_a_reader_of_the_release_before_finds_the_sink_in_what_a_client_writes() -> None:
    """It passes over `options`, and needs no newer schema version."""
    written: dict[str, Any] = msgspec.json.decode(encode(submitted(OPTIONS, SINK)))
    assert (written.pop("options")["sink"], written["v"]) == (msgspec.to_builtins(SINK), 1)
    older = msgspec.convert(written, Submitted)
    assert JobLedger(older, 0.0).sinks.default == SINK


def test_a_job_without_options_sends_none() -> None:
    message = submitted(None, None)
    assert b"options" not in encode(message)
    assert b"options" not in encode(assigned(message))
