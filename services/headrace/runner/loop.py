"""The runner's loop: read frames, execute segments, write results, one thread.

Results of short tasks travel together; before a task that may take long, what is finished is sent first. A result that must leave
its chain and finds no room in the store waits in this process, and the runner goes on with other segments meanwhile. So does a
generator: it is suspended at its yield until there is room.

What a task returned or yielded may lie in memory that it fills again when it is called the next time. So the value is stored, or
copied, before the runner calls anything else: another task, or the rest of a generator.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Sized
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple, NoReturn, cast

import msgspec

from headrace.errors import GraphError
from headrace.graph.naming import task_name
from headrace.graph.output import Output
from headrace.graph.templates import NO_KEYWORDS, bind
from headrace.logs import get_log
from headrace.metadata import check_metadata
from headrace.runner import protocol
from headrace.runner.failures import AgentGone, BadOutput, StoreTooSmall, TaskFailure, describe, loading_failure
from headrace.runner.job import Kind, RunnerJob, Segment
from headrace.runner.outbox import Outbox
from headrace.runner.printing import Printed
from headrace.runner.protocol import NEVER, NO_ROOM_YET
from headrace.runner.slabs import Slabs
from headrace.runner.status import StatusPage
from headrace.values import PLAIN_TYPES, ArrayType, Encoded, NotPicklable, Passed, array_type, decode, encode, encode_plain, making
from headrace_schemas import SinkSpec
from headrace_schemas.streams import INLINE_VALUE_BYTES
from headrace_shm import Arena, Slab

READ_BYTES = 1 << 18
"""Bytes read from the agent at once, into one place: to make an object of so many for every read takes longer than all else of it."""
BATCH_SECONDS = 0.0005
"""Results wait at most about so long for company; a task expected to last longer is not started before they are sent."""
PROGRESS_SECONDS = 0.05
"""Inside a long chain, what is done is told this often."""

log = get_log(__name__)


class Suspended:
    """A generator task that waits for room, and the dataset that comes next."""

    __slots__ = ("index", "iterator", "place", "random_states", "segment")

    def __init__(self, segment: Segment, place: int, iterator: Iterator[Any]) -> None:
        self.segment = segment
        self.place = place
        self.iterator = iterator
        self.index = 0
        self.random_states: list[tuple[Any, Any]] = []
        """The generators of random numbers that it draws from, as they were at its last yield."""


class Put(msgspec.Struct):
    """A result that waits for room."""

    segment: Segment
    place: int
    """Index of its task in the segment."""
    dataset: int
    encoded: Encoded
    metadata: dict[str, Any] | None
    array: ArrayType | None = None
    generator: Suspended | None = None


_NOTHING = object()
"""What an iterator does not give."""


class Withheld(NamedTuple):
    """Reports that go out once a task is known to have ended well, and those of files, which go out in any case: somebody removes them."""

    datasets: list[Callable[[], None]]
    files: list[Callable[[], None]]


class Runner:
    """One runner process's state and loop."""

    def __init__(self, sock: socket.socket, arena: Arena, status: StatusPage, slot: int) -> None:
        self._sock = sock
        self._arena = arena
        self._status = status
        self._slot = slot
        self._frames = protocol.FrameBuffer()
        self._read_into = memoryview(bytearray(READ_BYTES))
        self._outbox = Outbox(sock)
        self._slabs = Slabs(arena, self._ask_slab, self._outbox.let_go.append)
        self._slab_grants: deque[protocol.GrantSlab] = deque()
        self._jobs: dict[int, RunnerJob] = {}
        self._queue: deque[Segment] = deque()
        self._puts: dict[tuple[int, int], Put] = {}
        self._borrowed: list[Put] = []
        """Those among them whose values may still lie in memory that their tasks write to."""
        self._withheld: Withheld | None = None
        """What is to be said of a task's last datasets, while it is not known yet that they are the last."""
        self._asked: tuple[int, int] | None = None
        """The dataset for which the agent is asked for room right now, and what it answered."""
        self._answer: protocol.Grant | None = None
        self._granted: deque[protocol.Grant] = deque()
        self._page, self._begun, self._recall_number = status.cells(slot)
        self._calling = False
        """Whether a task's own code runs, so that nothing else is half done here."""
        self._recalled = 0
        """Number of the last recall that was heard of."""
        self._now = self._last_read = perf_counter()

    def about(self) -> dict[str, str]:
        """The job and the task that are executed now, for what the task logs."""
        executing = self._status.get(self._slot)
        job = self._jobs.get(executing[0]) if executing is not None else None
        return {"job": job.id, "task": task_name(job.spec, executing[1])} if job is not None and executing is not None else {}

    # --- frames -----------------------------------------------------------------------------------------------------

    def run(self, printed: Sequence[Printed] = ()) -> NoReturn:
        """Work until the agent is gone. Raises AgentGone then, a SystemExit. printed: what tasks print to."""
        making.provide(self._slabs.empty)
        signal.signal(protocol.NUDGE, self._on_nudge)
        signal.siginterrupt(protocol.NUDGE, False)
        os.register_at_fork(after_in_child=self._sock.close)  # a process that a task forks, and that returns from it, is not this runner
        while True:
            if self._borrowed:
                self._own()
            if self._granted:
                self._use(self._granted.popleft())
            elif self._queue:
                self._page[self._begun] = self._queue[0].number
                if self._page[self._recall_number] == self._recalled:
                    self._execute(self._queue.popleft())
                else:
                    self._await_recall()
            else:
                self._status.clear(self._slot)
                self._slabs.collect()
                self._outbox.flush()
                for stream in printed:
                    stream.end_line()
                self._read(block=True)
                continue
            if self._now - self._last_read > BATCH_SECONDS or not self._queue:
                self._slabs.collect()
                self._read(block=False)

    def _on_nudge(self, *_: object) -> None:
        """A task goes on for longer than was thought: send what was finished before it. Comes between two instructions of the task."""
        if self._calling:
            self._calling = False
            with contextlib.suppress(AgentGone):  # it is found out after the task
                self._outbox.flush()
            self._calling = True

    def _await_recall(self) -> None:
        """The agent takes segments back: nothing is begun before it has said which."""
        self._status.clear(self._slot)
        self._outbox.flush()
        while self._page[self._recall_number] != self._recalled:
            self._read(block=True)

    def _read(self, block: bool) -> None:
        try:
            nbytes = self._sock.recv_into(self._read_into, 0, 0 if block else socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._last_read = self._now
            return
        except OSError:
            raise AgentGone from None
        if not nbytes:
            raise AgentGone
        self._last_read = self._now = perf_counter()
        self._frames.feed(self._read_into[:nbytes])
        for frame in self._frames.to_runner():
            self._handle(frame)

    def _handle(self, frame: protocol.ToRunner) -> None:
        if isinstance(frame, protocol.Run):
            self._queue.extend(_segments(self._jobs[frame.job], frame))
        elif isinstance(frame, protocol.Grant):
            key = frame.job, frame.dataset
            if key == self._asked:
                self._answer = frame  # the last one counts: there may have been room meanwhile
            elif key in self._puts:
                self._granted.append(frame)
        elif isinstance(frame, protocol.GrantSlab):
            self._slab_grants.append(frame)
        elif isinstance(frame, protocol.OpenJob):
            self._jobs[frame.job] = RunnerJob(frame.job, frame.graph, frame.sinks, frame.name)
        elif isinstance(frame, protocol.Recall):
            self._recall(frame)
        else:
            self._close(frame.job)
            if not frame.quietly:
                self._outbox.send(protocol.Closed(frame.job))

    def _recall(self, frame: protocol.Recall) -> None:
        """Segments that were not begun run elsewhere."""
        self._recalled, gone = frame.number, frozenset(frame.segments)
        for segment in self._queue:
            if segment.id in gone:
                self._drop_inputs(segment)
        self._queue = deque(segment for segment in self._queue if segment.id not in gone)

    def _close(self, number: int) -> None:
        job = self._jobs.pop(number, None)
        if job is None:
            return
        job.closed = True
        job.chain_values.clear()
        for key in [key for key in self._puts if key[0] == number]:
            del self._puts[key]
        for segment in [segment for segment in self._queue if segment.job is job]:
            self._queue.remove(segment)
            self._drop_inputs(segment)

    def _drop_inputs(self, segment: Segment) -> None:
        self._outbox.let_go.extend(location[0] for location in segment.locations if not isinstance(location, bytes))
        segment.locations = ()

    # --- executing --------------------------------------------------------------------------------------------------

    def _execute(self, segment: Segment) -> None:
        job = segment.job
        if segment.chain in job.dead_chains:
            self._drop_inputs(segment)
            return
        try:
            self._tasks(segment)
            segment.ended = True
            self._end(segment)
            return
        except BaseException as error:
            failure = _failure(error)
        self._report(segment, failure)

    def _tasks(self, segment: Segment) -> None:
        job, outside = segment.job, self._outside(segment)
        last = len(segment.tasks) - 1
        for place, task in enumerate(segment.tasks):
            segment.place, kind = place, job.kind(task)
            if self._outbox.waiting:
                self._flush_before(kind)
            self._status.set(self._slot, job.number, task)
            began = perf_counter()
            result = self._call(segment, place, kind, outside)
            self._now = perf_counter()
            if kind.generator:
                self._generate(Suspended(segment, place, iter(result)))
                return
            job.took(kind, self._now - began)
            if not (type(result) in PLAIN_TYPES and job.sends_plainly and self._pass_plain(job, segment.leaves[place], task, result)):
                self._keep_or_put(segment, place, task, result)
                result = None
                self._let_go(segment, place)
            if place < last and self._now - self._outbox.since > PROGRESS_SECONDS:
                self._outbox.task_done(job, task, self._now)

    def _let_go(self, segment: Segment, place: int) -> None:
        """What a task returned is not referred to here any more: make it safe from what the task still refers to."""
        if segment.job.unsettled is not None:
            segment.job.settle()
        if self._slabs.results:
            self._hand_over(segment, place)
        if self._borrowed:
            self._own()

    def _flush_before(self, kind: Kind) -> None:
        """Send what is finished before a task that may take long."""
        if kind.expected is None or kind.expected > BATCH_SECONDS or self._now - self._outbox.since > BATCH_SECONDS:
            self._outbox.flush()

    def _outside(self, segment: Segment) -> dict[int, Any]:
        """The segment's inputs from outside its chain, decoded: arrays are views of the arena."""
        values: dict[int, Any] = {}
        inputs, locations = segment.inputs, segment.locations
        segment.locations = ()
        if inputs:  # unpickling them may end the process, too
            self._status.set(self._slot, segment.job.number, segment.tasks[0])
        try:
            for dataset, location in zip(inputs, locations, strict=True):
                values[dataset] = decode(location) if isinstance(location, bytes) else self._view(location)
        except BaseException as error:
            segment.locations = locations[len(values) + 1 :]
            self._drop_inputs(segment)
            doing = f"while the input {segment.job.dataset_name(inputs[len(values)])!r} was unpickled in the runner"
            raise loading_failure(error, doing) from None
        return values

    def _view(self, location: tuple[int, int, int]) -> Any:
        block, offset, nbytes = location
        return decode(self._arena.readonly(offset, nbytes, partial(self._outbox.let_go.append, block)))

    def _call(self, segment: Segment, place: int, kind: Kind, outside: dict[int, Any]) -> Any:
        job, task = segment.job, segment.tasks[place]
        function = kind.function
        if function is None:
            function = self._load(job, kind)
        template = job.arguments.template(task)
        inputs = [outside[d] if d in outside else job.take(d) for d in job.inputs(task)]
        args, kwargs = (inputs, NO_KEYWORDS) if template is None else bind(template, inputs)
        outside.clear()
        self._calling = True
        try:
            return self._call_anew(job, task, kind, args, kwargs) if kind.special else function(*args, **kwargs)
        finally:
            self._calling = False

    def _call_anew(self, job: RunnerJob, task: int, kind: Kind, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call a function whose state is to be the task's own: its partial's arguments, its random numbers."""
        function = kind.load(job.spec.content_hash) if kind.renewed is None else self._renew(job, task, kind.renewed)
        if kind.randomness is None:
            return function(*args, **kwargs)
        kind.randomness.begin(task, function)
        result = function(*args, **kwargs)
        kind.randomness.end()
        return result

    def _load(self, job: RunnerJob, kind: Kind) -> Callable[..., Any]:
        try:
            return kind.load(job.spec.content_hash)
        except BaseException as error:
            raise TaskFailure(error, "import_failed") from None

    def _renew(self, job: RunnerJob, task: int, renewed: Passed) -> Callable[..., Any]:
        try:
            function: Callable[..., Any] = renewed.fresh()
        except BaseException as error:
            raise loading_failure(error, f"while the arguments of {task_name(job.spec, task)!r} were unpickled in the runner") from None
        return function

    def _report(self, segment: Segment, failure: TaskFailure) -> None:
        """Report that the task at the segment's place failed. Its chain ends."""
        job, task = segment.job, segment.tasks[segment.place]
        described = describe(job, task, segment.attempt, failure)
        failure.forget()
        self._slabs.forget()
        withheld, self._withheld = self._withheld, None
        self._outbox.failed(job, segment.id, described, self._now)
        for say in withheld.files if withheld is not None else ():
            say()
        self._outbox.flush()
        job.dead_chains.add(segment.chain)
        log.warning(
            "a task failed",
            job=job.id,
            task=described.name,
            attempt=described.attempt,
            reason=described.reason,
            error=described.error,
            exception=described.traceback,
        )

    # --- results ----------------------------------------------------------------------------------------------------

    def _keep_or_put(self, segment: Segment, place: int, task: int, result: Any) -> None:
        job, leaves = segment.job, segment.leaves[place]
        outputs = job.outputs(task)
        if leaves == 0:
            self._keep(job, outputs[0], result)
        elif leaves == 1:
            if len(outputs) == 1:
                self._put(segment, place, outputs[0], result)
            else:
                self._put_each(segment, place, outputs, result)

    def _put_each(self, segment: Segment, place: int, outputs: range, result: Any) -> None:
        """Send the values of a task with several outputs. They may be computed only now, one after the other, and it is known at the end
        how many there are."""
        iterator, computed = _iterate(result, len(outputs)), not isinstance(result, list | tuple)
        self._withheld = Withheld([], [])
        for index, dataset in enumerate(outputs):
            try:
                self._put(segment, place, dataset, next(iterator))
            except StopIteration:
                raise _miscounted(index, len(outputs)) from None
            if computed:
                self._hand_over(segment, place)
                self._own()
        if next(iterator, _NOTHING) is not _NOTHING:
            raise _miscounted(f"more than {len(outputs)}", len(outputs))
        self._say_withheld()

    def _keep(self, job: RunnerJob, dataset: int, value: Any) -> None:
        """Hold a value for later tasks of its chain."""
        try:
            if isinstance(value, Output):
                _metadata(job, dataset, value)
                value = value.value
            job.keep(dataset, value)
        except BaseException as error:
            raise _leaving_failure(error) from None

    def _pass_plain(self, job: RunnerJob, leaves: int, dataset: int, value: Any) -> bool:
        """Hold a number for its chain, or send it if it leaves that. False if it has too many digits for that."""
        if leaves != 1:
            if leaves == 0:
                job.keep_plain(dataset, value)
            return True
        data = encode_plain(value)
        if len(data) > INLINE_VALUE_BYTES:
            return False
        self._outbox.dataset(job, dataset, data, None, self._now)
        return True

    def _put(self, segment: Segment, place: int, dataset: int, value: Any, generator: Suspended | None = None) -> bool:
        """Send a value that leaves its chain, or have it wait for room; False if it waits."""
        job, metadata = segment.job, None
        if isinstance(value, Output):
            value, metadata = value.value, _metadata(job, dataset, value)
        sink = job.sink_of(dataset)
        if sink is not None:
            self._sink(segment, place, sink, dataset, value, metadata)
            if not job.is_taken(dataset):
                return True
            metadata = None
        encoded = _encode(value)
        array = array_type(value) if job.is_asked_for(dataset) else None
        if encoded.nbytes <= INLINE_VALUE_BYTES:
            self._send(job, dataset, encoded.tobytes(), metadata, array)
            return True
        if self._slabs.encode_in_place(encoded, dataset, metadata, array):
            return True
        return self._store(Put(segment, place, dataset, encoded, metadata, array, generator))

    def _hand_over(self, segment: Segment, place: int, generator: Suspended | None = None) -> bool:
        """Send the results that were made in slabs, now that their values are dropped here; False if one waits for room to be copied."""
        stored = True
        while self._slabs.results:
            result = self._slabs.results.pop(0)
            encoded = self._slabs.take(result)
            if encoded is None:
                self._send(segment.job, result.dataset, result.slab, result.metadata, result.array)
            else:
                put = Put(segment, place, result.dataset, encoded, result.metadata, result.array, generator)
                stored &= self._store(put)
        return stored

    def _store(self, put: Put) -> bool:
        """Write a value to a block, or have it wait for room; False if it waits."""
        segment, dataset = put.segment, put.dataset
        grant = self._ask(segment, dataset, put.encoded.nbytes)
        if grant is None:
            return True
        if grant.offset == NEVER:
            self._refused(grant.why)
        if grant.offset == NO_ROOM_YET:
            segment.puts += 1
            self._puts[segment.job.number, dataset] = put
            self._borrowed.append(put)
            return False
        self._write(grant, put)
        return True

    def _own(self) -> None:
        """Copy the values that wait for room and lie in memory that something else can write to, before any task is called."""
        while self._borrowed:
            put = self._borrowed.pop()
            try:
                put.encoded.make_own()
            except MemoryError as error:
                self._puts.pop((put.segment.job.number, put.dataset), None)
                doing = f"while {put.encoded.nbytes} bytes were copied that wait for room in the store of this host"
                self._report(put.segment, TaskFailure(error, "too_large", doing))

    def _sink(self, segment: Segment, place: int, sink: SinkSpec, dataset: int, value: Any, metadata: dict[str, Any] | None) -> None:
        """Write an output to its sink, once all that was finished before is on its way: this takes a while."""
        job, task = segment.job, segment.tasks[place]
        assert job.sinks is not None
        self._outbox.flush()
        try:
            written = job.sinks.write(sink, job, dataset, task, segment.attempt, value, metadata)
        except AgentGone:
            raise
        except BaseException as error:
            raise TaskFailure(error, "sink_failed") from None
        self._now = perf_counter()
        say = partial(self._outbox.written, job, written, metadata, self._now)
        say() if self._withheld is None else self._withheld.files.append(say)

    def _ask(self, segment: Segment, dataset: int, nbytes: int) -> protocol.Grant | None:
        """Ask the agent for room and wait for its answer, which comes at once. None: the job was closed meanwhile."""
        self._asked, self._answer = (segment.job.number, dataset), None
        self._outbox.send(protocol.Allocate(*self._asked, nbytes, segment.id))
        while self._answer is None and not segment.job.closed:
            self._read(block=True)
        self._asked = None
        return None if segment.job.closed else self._answer

    def _ask_slab(self, nbytes: int) -> Slab | None:
        """Ask the agent for room for an array, in the middle of a task, and wait for its answer, which comes at once."""
        calling, self._calling = self._calling, False
        self._outbox.send(protocol.AllocateSlab(nbytes))
        while not self._slab_grants:
            self._read(block=True)
        self._calling = calling
        grant = self._slab_grants.popleft()
        return None if grant.offset == NEVER else Slab(grant.block, grant.offset, grant.nbytes)

    def _write(self, grant: protocol.Grant, put: Put) -> None:
        put.encoded.write_into(self._arena.writable(grant.offset, put.encoded.nbytes))
        self._now = perf_counter()
        self._send(put.segment.job, grant.dataset, grant.block, put.metadata, put.array)

    def _send(self, job: RunnerJob, dataset: int, value: bytes | int, metadata: dict[str, Any] | None, array: ArrayType | None) -> None:
        if self._withheld is not None:
            self._withheld.datasets.append(partial(self._send, job, dataset, value, metadata, array))
            return
        self._outbox.dataset(job, dataset, value, metadata, self._now)
        if array is not None:
            self._outbox.array(dataset, array)

    def _say_withheld(self) -> None:
        withheld, self._withheld = self._withheld, None
        for say in (*withheld.files, *withheld.datasets) if withheld is not None else ():
            say()

    @staticmethod
    def _refused(why: str) -> NoReturn:
        raise TaskFailure(StoreTooSmall(why), "too_large")

    def _use(self, grant: protocol.Grant) -> None:
        """There is room now for a result that waited, or it is known that there never will be."""
        put = self._puts.pop((grant.job, grant.dataset), None)
        if put is not None:
            put.segment.place = put.place
            try:
                self._use_for(grant, put)
                return
            except BaseException as error:
                failure = _failure(error)
            self._report(put.segment, failure)

    def _use_for(self, grant: protocol.Grant, put: Put) -> None:
        if grant.offset == NEVER:
            self._refused(grant.why)
        put.segment.puts -= 1
        if put.generator is not None and _is_last(put.generator):
            self._withheld = Withheld([], [])
            self._write(grant, put)
            self._finish(put.generator)
        else:
            self._write(grant, put)
            if put.generator is not None:
                self._generate(put.generator)
        self._end(put.segment)

    def _end(self, segment: Segment) -> None:
        """Report the segment once its tasks ended and nothing of it waits for room."""
        if segment.ended and segment.puts == 0 and not segment.job.closed:
            self._outbox.segment_done(segment.job, segment.id, self._now)

    # --- generators -------------------------------------------------------------------------------------------------

    def _generate(self, generator: Suspended) -> None:
        """Go on with a generator task until it ends or must wait for room; its random numbers go on where they were, too."""
        job = generator.segment.job
        randomness = job.kind(generator.segment.tasks[generator.place]).randomness
        if randomness is None:
            self._drive(generator)
            return
        randomness.resume(generator)
        self._drive(generator)
        randomness.suspend(generator)

    def _drive(self, generator: Suspended) -> None:
        segment, place = generator.segment, generator.place
        task = segment.tasks[place]
        outputs, kind = segment.job.outputs(task), segment.job.kind(task)
        while True:
            if self._borrowed:
                self._own()
            self._status.set(self._slot, segment.job.number, task)
            began = perf_counter()
            self._calling = True
            try:
                value = next(generator.iterator)
            except StopIteration:
                break
            finally:
                self._calling = False
            self._now = perf_counter()
            segment.job.took(kind, self._now - began)
            generator.index += 1
            if _is_last(generator):
                self._withheld = Withheld([], [])
            stored = self._put(segment, place, outputs[generator.index - 1], value, generator)
            value = None
            if self._slabs.results:
                stored &= self._hand_over(segment, place, generator)
            if self._withheld is not None and stored:
                self._finish(generator)
                return
            self._withheld = None
            if not stored or segment.job.closed:
                return
            self._flush_before(kind)
        if generator.index < len(outputs):
            text = f"declared with outputs={len(outputs)}, but yielded only {generator.index}"
            raise TaskFailure(BadOutput(text), "bad_output")

    def _finish(self, generator: Suspended) -> None:
        """See that a generator, whose rest runs here, yields no more, and report its last dataset, which is stored."""
        try:
            next(generator.iterator)
        except StopIteration:
            self._say_withheld()
            return
        outputs = generator.segment.job.outputs(generator.segment.tasks[generator.place])
        raise TaskFailure(BadOutput(f"declared with outputs={len(outputs)}, but yielded more"), "bad_output")


def _is_last(generator: Suspended) -> bool:
    """Whether what a generator yielded is the last of the datasets that its task was declared with."""
    return generator.index == len(generator.segment.job.outputs(generator.segment.tasks[generator.place]))


def _segments(job: RunnerJob, frame: protocol.Run) -> list[Segment]:
    """A Run's columns cut into segments."""
    made, task, given = [], 0, 0
    columns = zip(frame.segments, frame.chains, frame.lengths, frame.counts, strict=True)
    for number, (id, chain, length, count) in enumerate(columns, frame.first):
        end = task + length
        segment = Segment(job, id, chain, frame.tasks[task:end], frame.leaves[task:end], number)
        if frame.attempts:
            segment.attempts = frame.attempts[task:end]
        if count:
            segment.inputs = frame.inputs[given : given + count]
            segment.locations = frame.locations[given : given + count]
            given += count
        task = end
        made.append(segment)
    return made


def _iterate(result: Any, n: int) -> Iterator[Any]:
    """The values that a task of `n` outputs returned. Raises TaskFailure where it is known now that they are none, or not as many."""
    try:
        iterator: Iterator[Any] = iter(result)
    except TypeError as error:
        raise TaskFailure(
            BadOutput(f"declared with outputs={n}, but returned one {type(result).__name__}: {error}"), "bad_output"
        ) from None
    if isinstance(result, Sized) and len(result) != n:
        raise _miscounted(len(result), n)
    return iterator


def _miscounted(count: int | str, n: int) -> TaskFailure:
    return TaskFailure(BadOutput(f"declared with outputs={n}, but returned {count} values"), "bad_output")


def _encode(value: Any) -> Encoded:
    """A value that leaves its chain, pickled. Raises TaskFailure."""
    try:
        return encode(value)
    except BaseException as error:
        raise _leaving_failure(error) from None


def _leaving_failure(error: BaseException) -> TaskFailure:
    """The failure of a task whose result cannot be pickled."""
    if issubclass(type(error), TaskFailure):
        return cast(TaskFailure, error)
    if issubclass(type(error), NotPicklable):
        return TaskFailure(error, "unpicklable")
    return TaskFailure(error, doing="while its result was pickled in the runner")


def _failure(error: BaseException) -> TaskFailure:
    """The failure of a task, of whatever it, its arguments, its result or its import raised. Raises AgentGone, which is none."""
    kind = type(error)
    if issubclass(kind, AgentGone):
        raise error
    if issubclass(kind, TaskFailure):
        return cast(TaskFailure, error)
    return TaskFailure(error, "bad_output" if issubclass(kind, GraphError) else "raised")


def _metadata(job: RunnerJob, dataset: int, output: Output) -> dict[str, Any]:
    """An output's metadata, which can be sent. Raises TaskFailure."""
    try:
        return check_metadata(output.metadata, job.dataset_name(dataset))
    except GraphError as error:
        raise TaskFailure(error, "bad_output") from None
