"""The publisher's state machine: every output that exists is announced once, with restarts, late and repeated entries."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.bus import Entry
from headrace.publisher.settings import Settings
from headrace.publisher.state import Announcement, Publisher
from headrace_schemas import (
    Ended,
    Events,
    FunctionSpec,
    GraphSource,
    GraphSpec,
    HostJoined,
    HostLost,
    LogMessage,
    Needed,
    Published,
    Purge,
    Released,
    SinkSpec,
    Submitted,
    encode,
)

N = 6


def spec(n: int = N) -> GraphSpec:
    """Independent tasks, the first with a name and metadata; the outputs of all are asked for, but the last."""
    return GraphSpec(
        name="g",
        n_tasks=n,
        shape_hash="0",
        content_hash="1",
        functions=[FunctionSpec(name="f", module="m", qualname="f")],
        function=[0] * n,
        outputs=list(range(n - 1)),
        blocks=[b""] * -(-n // 256),
        named=[0],
        names=["first"],
        annotated=[0],
        metadata=[{"param": "2t", "step": 0}],
    )


class Stream:
    """The log, its publisher, and the server's check of expected sequences."""

    def __init__(self, size: int = 100_000) -> None:
        self.settings = Settings(message_bytes=size)
        self.log: list[Entry] = []
        self.last: dict[str, int] = {}
        self.sent: list[Announcement] = []
        self.refused = False
        self.term = 0
        self.restart()
        self.put(HostJoined(at=0, term=1, host="a", epoch=1, address="a:1", runners=1, capacity=1))
        self.put(HostJoined(at=0, term=1, host="b", epoch=1, address="b:1", runners=1, capacity=1))

    def put(self, message: LogMessage) -> int:
        self.log.append(Entry(len(self.log) + 1, 0.0, "", message))
        return len(self.log)

    def admit(self, job: str = "j", n: int = N) -> None:
        self.put(Submitted(job=job, name="g", n_tasks=n, graph=GraphSource(inline=spec(n))))

    def restart(self) -> None:
        """A new publisher takes over. What the old one sent may still arrive."""
        self.term += 1
        self.publisher = Publisher(self.settings, self.term)
        self.publisher.fold(self.log)
        self.read = len(self.log)
        self.sent += self.publisher.decide()

    def deliver(self, count: int = 1000, again: int = 0) -> None:
        self.publisher.fold(self.log[max(0, self.read - again) : self.read + count])
        self.read = min(len(self.log), self.read + count)
        self.sent += self.publisher.decide()

    def store(self) -> None:
        """The oldest batch on its way reaches the stream, which takes it only if it comes after the one that it names."""
        if not self.sent:
            return
        message, after = self.sent.pop(0)
        if self.last.get(message.job, 0) != after:
            if message.term == self.term:
                self.restart()
            return
        seq = self.last[message.job] = self.put(message)
        if message.term == self.term:
            self.publisher.stored(message, seq)
            self.sent += self.publisher.decide()

    def settle(self) -> None:
        for _ in range(200):
            self.deliver()
            self.store()
            if not self.sent and self.read == len(self.log):
                return
        raise AssertionError("it does not come to rest")

    def announced(self, job: str = "j") -> list[int]:
        messages = [entry.message for entry in self.log if isinstance(entry.message, Published) and entry.message.job == job]
        return [output.dataset for message in messages for output in message.outputs]


STEPS = st.one_of(
    st.tuples(st.just("produced"), st.integers(0, N - 1), st.sampled_from("ab")),
    st.tuples(st.just("purged"), st.integers(0, N - 1), st.sampled_from("ab")),
    st.tuples(st.just("lost"), st.sampled_from("ab")),
    st.tuples(st.just("deliver"), st.integers(0, 5), st.integers(0, 5)),
    st.tuples(st.just("store")),
    st.tuples(st.just("restart")),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(STEPS, max_size=40), st.sampled_from([1, 150, 100_000]))
def test_whatever_existed_is_announced_once(steps: list[tuple], size: int) -> None:
    stream = Stream(size)
    stream.admit()
    existed: set[int] = set()
    alive = {"a", "b"}
    for name, *arguments in steps:
        if name in ("deliver", "store", "restart"):
            getattr(stream, name)(*arguments)
        elif name == "lost" and arguments[0] in alive:
            alive.discard(arguments[0])
            stream.put(HostLost(at=1, term=1, host=arguments[0], epoch=1))
        elif name == "produced" and arguments[1] in alive:
            task, host = arguments
            existed |= {task} - {N - 1}
            attempts = [sum(isinstance(entry.message, Needed) and entry.message.tasks == [task] for entry in stream.log) + 1]
            stream.put(Needed(at=1, term=1, job="j", tasks=[task], attempts=attempts))
            stream.put(
                Events(job="j", host=host, epoch=1, done=[task], produced=[task], done_attempts=attempts, produced_attempts=attempts)
            )
        elif name == "purged" and arguments[1] in alive:
            stream.put(Purge(at=1, term=1, job="j", host=arguments[1], epoch=1, datasets=[arguments[0]]))
    stream.settle()
    assert Counter(stream.announced()) == Counter(existed)


def test_an_output_carries_name_metadata_holder_and_size() -> None:
    stream = Stream()
    stream.admit()
    stream.put(
        Events(
            job="j",
            host="a",
            epoch=1,
            produced=[0, 1],
            sizes=[800, 16],
            value_ids=[1],
            values=[b"x"],
            metadata_ids=[0],
            metadata=[{"step": 6}],
            typed=[0],
            dtypes=["float64"],
            shapes=[[10, 10]],
        )
    )
    stream.settle()
    (message,) = [entry.message for entry in stream.log if isinstance(entry.message, Published)]
    first, second = message.outputs
    assert (first.name, first.metadata, first.host, first.bytes) == ("first", {"param": "2t", "step": 6}, "a", 800)
    assert (first.dtype, first.shape, first.checksum) == ("float64", [10, 10], "")
    assert (second.name, second.metadata, second.host) == ("f-1", {}, "")
    assert (second.dtype, second.shape) == ("", None)
    assert second.checksum == "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # of b"x"
    assert (message.at, message.term) == (4, 1)


def test_what_was_announced_is_not_remembered() -> None:
    stream = Stream()
    stream.admit()
    for task in range(2):
        stream.put(
            Events(job="j", host="a", epoch=1, produced=[task], value_ids=[task], values=[b"x"], typed=[task], dtypes=["i1"], shapes=[[1]])
        )
        stream.settle()
        job = stream.publisher.ledger.jobs["j"]
        assert (job.values, job.arrays) == ({}, {})
    stream.restart()
    job = stream.publisher.ledger.jobs["j"]
    assert (job.values, job.arrays) == ({}, {})


def test_many_outputs_travel_in_messages_of_limited_size() -> None:
    stream = Stream(size=2000)
    stream.admit(n=500)
    stream.put(Events(job="j", host="a", epoch=1, produced=list(range(499))))
    stream.settle()
    messages = [entry.message for entry in stream.log if isinstance(entry.message, Published)]
    assert len(messages) > 5
    assert max(len(encode(message)) for message in messages) < 2200
    assert stream.announced() == list(range(499))


def test_one_batch_of_a_job_is_on_its_way_at_a_time() -> None:
    stream = Stream()
    stream.admit()
    stream.put(Events(job="j", host="a", epoch=1, produced=[0]))
    stream.deliver()
    stream.put(Events(job="j", host="a", epoch=1, produced=[1, 2]))
    stream.deliver()
    assert [batch.after for batch in stream.sent] == [0]
    stream.store()
    assert [(batch.after, len(batch.message.outputs)) for batch in stream.sent] == [(stream.last["j"], 2)]


def test_a_job_that_failed_announces_nothing_more_and_is_forgotten() -> None:
    stream = Stream()
    stream.admit()
    stream.put(Events(job="j", host="a", epoch=1, produced=[0]))
    stream.put(Ended(at=1, term=1, job="j", state="failed"))
    stream.settle()
    assert stream.announced() == []
    assert stream.publisher.jobs == {}
    assert stream.publisher.ledger.jobs == {}


def test_a_job_that_is_done_is_forgotten_once_everything_is_announced() -> None:
    stream = Stream()
    stream.admit()
    stream.put(Events(job="j", host="a", epoch=1, produced=list(range(N))))
    stream.put(Ended(at=1, term=1, job="j", state="done"))
    stream.put(Released(at=1, term=1, job="j"))
    stream.put(Purge(at=1, term=1, job="j", host="a", epoch=1, datasets=list(range(N))))
    stream.deliver()
    assert stream.publisher.jobs
    stream.settle()
    assert stream.announced() == list(range(N - 1))
    assert stream.publisher.jobs == {}


def test_what_another_publisher_announced_counts_whatever_its_term() -> None:
    """It was held up on its way and comes after this one has written elsewhere: the ledgers ignore it, the stream has it."""
    stream = Stream()
    stream.admit("one")
    stream.admit("two")
    stream.put(Events(job="one", host="a", epoch=1, produced=[0]))
    stream.deliver()
    late = stream.sent.pop()
    stream.restart()
    stream.store()
    stream.put(Events(job="two", host="a", epoch=1, produced=[0]))
    message = late.message
    message.job = "two"
    stream.last["two"] = stream.put(message)
    stream.settle()
    assert stream.announced("two") == [0]


def test_status_tells_what_is_due() -> None:
    stream = Stream()
    stream.admit()
    stream.put(Events(job="j", host="a", epoch=1, produced=[0, 1]))
    stream.deliver()
    assert stream.publisher.status() == {"term": 1, "at": 4, "impossible": 0, "announced": 0, "due": {"j": 2}}
    stream.settle()
    assert stream.publisher.status()["announced"] == 2


def test_what_is_too_large_for_the_server_is_announced_in_parts_and_at_last_without_metadata() -> None:
    stream = Stream()
    stream.admit()
    large = {"field": "x" * 5000}
    produced = [1, 2, 3]
    stream.put(Events(job="j", host="a", epoch=1, produced=produced, sizes=[1, 1, 1], metadata_ids=[2], metadata=[large]))
    stream.deliver()
    refusals = 0
    while stream.sent:
        message = stream.sent[0].message
        if len(encode(message)) <= 1000:
            stream.store()
            continue
        refusals += 1
        assert refusals < 10, "it is retried for ever"
        stream.sent.pop(0)
        assert stream.publisher.refused(message)
        stream.sent += stream.publisher.decide()
    assert sorted(stream.announced()) == produced
    outputs = [output for entry in stream.log if isinstance(entry.message, Published) for output in entry.message.outputs]
    assert {output.dataset: list(output.metadata) for output in outputs} == {1: [], 2: ["headrace_error"], 3: []}


def test_an_output_that_is_refused_even_without_metadata_is_not_tried_again() -> None:
    stream = Stream()
    stream.admit()
    stream.put(Events(job="j", host="a", epoch=1, produced=[1]))
    stream.deliver()
    assert stream.publisher.refused(stream.sent.pop().message)
    (again,) = stream.publisher.decide()
    assert not stream.publisher.refused(again.message)


def test_what_is_read_rests_for_less_while_a_job_writes_to_a_sink() -> None:
    times = Settings()
    assert times.sink_rest_seconds < times.rest_seconds
    publisher = Publisher(times, 1)
    assert publisher.rest == times.rest_seconds
    sunk = spec()
    sunk.sinks, sunk.sunk, sunk.sink = [SinkSpec(path="out")], [0], [0]
    for seq, (job, given_spec) in enumerate((("plain", spec()), ("sunk", sunk)), 1):
        publisher.fold([Entry(seq, 1.0, f"headrace.job.{job}.submitted", Submitted(job=job, graph=GraphSource(inline=given_spec)))])
        publisher.decide()
        assert publisher.rest == (times.rest_seconds if job == "plain" else times.sink_rest_seconds)
    publisher.fold([Entry(3, 1.0, "headrace.job.sunk.ended", Ended(at=3, term=1, job="sunk", state="cancelled"))])
    publisher.decide()
    assert publisher.rest == times.rest_seconds
