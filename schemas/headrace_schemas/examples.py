"""One realistic example of every struct of the contract, for readers, for `asyncapi.json` and for tests.

They tell one story: the job `k3v7mzq2ha5x` computes two monthly means on the hosts `alpha` and `beta`; `beta` is lost on the way.
"""

from __future__ import annotations

from headrace_schemas import entries, facts
from headrace_schemas import messages as m
from headrace_schemas.base import SCHEMA_VERSION, Record
from headrace_schemas.fetching import Fetch, Fetching
from headrace_schemas.graph import FunctionSpec, GraphSource, GraphSpec, SinkSpec, SourceSpec
from headrace_schemas.options import JobOptions
from headrace_schemas.snapshot import SNAPSHOT_LAYOUT, LedgerSnapshot, Turn
from headrace_schemas.streams import GRAPHS, JOBS, LOG

JOB = "k3v7mzq2ha5x"
ALPHA_EPOCH = 1_795_358_400_000
BETA_EPOCH = 1_795_358_400_250
ALPHA = "10.0.0.11:41001"
BETA = "10.0.0.12:41001"

LOAD = FunctionSpec(name="load", module="fields", qualname="load", retries=2)
MEAN = FunctionSpec(name="mean", pickled=b"\x80\x05N.", resources={"memory": 2e9})
SINK = SinkSpec(path="s3://means/{param}", encoding="npy", options={"anon": False})
MEAN_SOURCE = SourceSpec(
    file="means.py",
    codes=["2f1c9a04be77d310"],
    first=[12],
    texts=["def mean(first, second):\n    return (first + second) / 2\n"],
)
GRAPH = GraphSpec(
    name="uk-march",
    n_tasks=6,
    shape_hash="5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
    content_hash="b1b3773a05c0ed0176787a4f1574ff0075f7521e0a1b7d4a1f5e6a7e0d1c2b3a",
    functions=[LOAD, MEAN],
    function=[0, 0, 0, 0, 1, 1],
    n_inputs=[0, 0, 0, 0, 2, 2],
    inputs=[0, 1, 2, 3],
    outputs=[4, 5],
    blocks=[b"\x80\x05]."],
    sources=[MEAN_SOURCE],
    named=[4, 5],
    names=["mean-0", "mean-1"],
    annotated=[4],
    metadata=[{"param": "2t", "statistic": "mean", "hour": 0}],
)
SOURCE = GraphSource(inline=GRAPH, sink=SINK)
OPTIONS = JobOptions(sink=SINK)
ERROR = m.TaskError(
    task=3,
    name="load-3",
    error="OSError: no such field: 2t at step 3",
    traceback='Traceback (most recent call last):\n  File "fields.py", line 12, in load\nOSError: no such field: 2t at step 3\n',
    pickled=b"\x80\x05N.",
    pid=4242,
)
WRITTEN = facts.Written(
    dataset=4,
    part="s3://means/2t/.mean-0.npy.k3v7mzq2ha5x-0.part",
    location="s3://means/2t/mean-0.npy",
    bytes=8_320_128,
    checksum="sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    encoding="npy",
    dtype="float64",
    shape=[721, 1440],
)
NOT_COMMITTED = facts.NotCommitted(dataset=5, error="FileNotFoundError: s3://means/2t/.mean-1.npy.k3v7mzq2ha5x-0.part")
PROFILE = facts.FunctionProfile(function=0, count=4, total=0.084, longest=0.031)
OUTPUT = facts.Output(
    dataset=4,
    name="mean-0",
    metadata={"param": "2t", "statistic": "mean", "hour": 0},
    bytes=8_320_128,
    location=WRITTEN.location,
    checksum=WRITTEN.checksum,
    encoding="npy",
    dtype="float64",
    shape=[721, 1440],
)
TURN = Turn(seq=12, time=1_795_358_460.9, message=m.HostLost(at=11, term=7, host="beta", epoch=BETA_EPOCH, reason="its lease ran out"))

_ALL: list[Record] = [
    # requests of the client
    m.Submitted(job=JOB, name="uk-march", n_tasks=6, graph=SOURCE, options=OPTIONS, client="anna@notebook"),
    m.Cancel(job=JOB, reason="the wrong month"),
    m.Release(job=JOB, datasets=[4]),
    # decisions of the controller
    m.HostJoined(at=0, term=7, host="alpha", epoch=ALPHA_EPOCH, address=ALPHA, runners=4, capacity=32 << 30, resources={"gpu": 1}),
    m.HostLost(at=9, term=7, host="beta", epoch=BETA_EPOCH, reason="its lease ran out"),
    m.Needed(at=10, term=7, job=JOB, tasks=[2, 3], attempts=[1, 1], reason="host beta was lost", about="load-2, load-3"),
    m.Due(at=9, term=7, job=JOB, tasks=[2], attempts=[0], about="load-2"),
    m.Purge(at=14, term=7, job=JOB, host="alpha", epoch=ALPHA_EPOCH, datasets=[0, 1], about="load-0, load-1"),
    m.Released(at=16, term=7, job=JOB, datasets=[4]),
    m.CancelAsked(at=17, term=7, job=JOB, reason="the wrong month"),
    m.Refused(at=17, term=7, job=JOB, reason="the sink '/home/out' is not where sinks may write here: /data/products"),
    m.Stranded(at=17, term=7, job=JOB, seconds=10.0),
    m.NoRoom(at=17, term=7, job=JOB, used=3_600_000_000, limit=4 << 30),
    m.Ended(at=18, term=7, job=JOB, state="failed", reason="a task raised", error=ERROR),
    # decisions of controller and scheduler
    m.TermBegan(at=2, term=8, service="scheduler"),
    # decisions of the scheduler
    m.Plan(
        at=3,
        term=8,
        job=JOB,
        planner="waves",
        part=0,
        parts=1,
        hosts=["alpha", "beta"],
        epochs=[ALPHA_EPOCH, BETA_EPOCH],
        first=0,
        lengths=[1, 1, 2, 2],
        tasks=[0, 2, 1, 4, 3, 5],
        placed=[0, 1, 0, 1],
        makespan=0.2,
    ),
    m.Assign(
        at=3,
        term=8,
        job=JOB,
        host="alpha",
        epoch=ALPHA_EPOCH,
        hosts=["alpha", "beta"],
        addresses=[ALPHA, BETA],
        chains=[0, 2],
        lengths=[1, 2],
        tasks=[0, 1, 4],
        sources=[0],
        graph=SOURCE,
        options=OPTIONS,
        about="load-0, load-1, mean-0",
    ),
    m.Revoke(at=6, term=8, job=JOB, host="beta", epoch=BETA_EPOCH, chains=[3], cuts=[0]),
    m.Reroute(
        at=11,
        term=8,
        job=JOB,
        host="alpha",
        epoch=ALPHA_EPOCH,
        hosts=["alpha", "beta"],
        addresses=[ALPHA, BETA],
        datasets=[2],
        attempts=[1],
        sources=[0],
    ),
    # facts
    facts.Events(
        job=JOB,
        host="alpha",
        epoch=ALPHA_EPOCH,
        started=[1],
        done=[1],
        chains=[0],
        produced=[0, 4],
        sizes=[8_320_064, 812],
        value_ids=[4],
        values=[b"\x93NUMPY"],
        metadata_ids=[4],
        metadata=[{"step": 6}],
        typed=[4],
        dtypes=["float64"],
        shapes=[[721, 1440]],
        written=[WRITTEN],
        copied=[2],
        failed=[ERROR],
        revoked=[3],
        kept=[1],
        gone=[3],
        unreachable=["beta"],
        profile=[PROFILE],
        memory_used=16_640_940,
        about="made load-0, mean-0; failed load-3",
    ),
    facts.Published(at=15, term=9, job=JOB, outputs=[OUTPUT], failed=[NOT_COMMITTED]),
    # values in buckets
    entries.HostEntry(host="alpha", epoch=ALPHA_EPOCH, address=ALPHA, runners=4, capacity=32 << 30, pid=4100, resources={"gpu": 1}),
    entries.LeaseEntry(holder="scheduler-4217", terms=[2, 8]),
    LedgerSnapshot(
        service="scheduler",
        schema=SCHEMA_VERSION,
        layout=SNAPSHOT_LAYOUT,
        seq=16,
        time=1_795_358_461.0,
        jobs=[JOB],
        first=[3],
        last=[15],
        turns=[TURN],
        over=["9c1xw5d0r7tm"],
    ),
    entries.JobEntry(job=JOB, name="uk-march", state="running", n_tasks=6, n_done=4, client="anna@notebook", submitted=1_795_358_460.5),
    # parts of the above, and the streams
    TURN,
    ERROR,
    PROFILE,
    OUTPUT,
    WRITTEN,
    NOT_COMMITTED,
    SINK,
    MEAN_SOURCE,
    MEAN,
    GRAPH,
    SOURCE,
    OPTIONS,
    LOG,
    JOBS,
    GRAPHS,
    Fetch(job=JOB, host="alpha", datasets=[4], attempts=[0]),
    Fetching(session="5f0c2a9e1b7d4a1f", subject="headrace.service.headrace-publisher.pieces-9f86d081"),
]

EXAMPLES: dict[type[Record], Record] = {type(example): example for example in _ALL}
"""Struct type to an instance of it."""

__all__ = ["EXAMPLES"]
