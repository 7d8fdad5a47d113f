"""One job as its client sees it: the fold of its log, kept up to date on the connection's thread, and the callers that wait for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

import msgspec

from headrace.bus import Entry, LogFeed, graph_key
from headrace.client.connection import Connection, Follower, cannot_follow, until_followed
from headrace.client.latch import Latch, Waiter
from headrace.client.settings import SETTINGS
from headrace.client.values import fetch_values
from headrace.errors import GraphError, HeadraceError, JobFailed, NoSuchJob
from headrace.ledger import ASSIGNED, CONTROLLER, STARTED, WAITING, JobLedger, Ledger
from headrace.ledger.entry import entry_of
from headrace.telemetry.tracing import now
from headrace_schemas import (
    Cancel,
    Ended,
    Events,
    GraphSource,
    GraphSpec,
    JobOptions,
    Needed,
    Release,
    Request,
    SinkSpec,
    Submitted,
    encode,
    streams,
    subjects,
)
from headrace_schemas.limits import MAX_GRAPH_BYTES

_UNFINISHED = frozenset({WAITING, ASSIGNED, STARTED})


_NOTED: dict[type[Any], Callable[[set[int], Any], None]] = {
    Events: lambda started, events: started.update(events.started),
    Needed: lambda started, needed: started.difference_update(needed.tasks),
}
"""How the set of started tasks follows the log."""


class Following(Follower):
    """The follower of one job. Any thread may make and read it; everything else happens on the connection's thread.

    over: set once the job is over, or when `error` says why that can no longer be known. submitted: set once the submission is in the log,
    or never will be. stored: whether it is in the log.
    """

    def __init__(self, connection: Connection, job: str) -> None:
        self.job = job
        self.error: HeadraceError | None = None
        self.over = Latch()
        self.submitted = Latch()
        self.stored = False
        self._connection = connection
        self._ledger = Ledger(keep_values=True)
        self._submitted: Submitted | None = None
        self._storing: asyncio.Future[int] | None = None
        self._early: list[bytes] | None = None
        """Requests that were made before the submission was in the log, which they must not overtake; None once it is."""
        self._lock = threading.Lock()
        self._feed: LogFeed | None = None
        self._stays = False
        self._attaching = False
        """Whether entries that are already in the log are being read. All of them count, even those after the job's end."""
        self._waiters: list[Waiter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: list[asyncio.Future[None]] = []
        self._released = False
        self._started: set[int] = set()

    @property
    def ledger(self) -> JobLedger:
        """The state of the job. Raises NoSuchJob while the log has nothing about it."""
        found = self._ledger.jobs.get(self.job)
        if found is None and self._submitted is not None:
            with self._lock:  # made once, by the first caller that needs it
                self._ledger.apply(self._submitted, time.time())
            found = self._ledger.jobs[self.job]
        if found is None:
            raise NoSuchJob(f"this cluster knows no job {self.job!r}: it never had one, or it has aged out of the log")
        return found

    def task_counts(self) -> dict[str, int]:
        """Return the numbers of pending, started, done and failed tasks. Call this on the connection's thread, or for a rough picture.

        The client that submitted the job reads no assignments. So for all clients, tasks that have not started are pending, and started
        tasks are known only from the hosts' reports.
        """
        ledger = self.ledger
        counts = ledger.task_counts()
        unfinished = counts["waiting"] + counts["assigned"] + counts["started"]
        started = sum(ledger.states[task] in _UNFINISHED for task in tuple(self._started) if task < len(ledger.states))
        return {"pending": unfinished - started, "started": started, "done": counts["done"], "failed": counts["failed"]}

    # --- beginning ----------------------------------------------------------------------------------------------------

    def submit(self, spec: GraphSpec, sink: SinkSpec | None = None) -> None:
        """Submit the graph and follow the job, both at the same time. The graph is not read back from the log. sink: of the job."""
        if self._connection.bus.tracing is not None:
            self._connection.bus.tracing.begin_job(self.job, spec.name)
        graph = GraphSource(inline=spec, sink=sink)  # the sink is for services of the release before
        options = JobOptions(sink=sink) if sink is not None else None
        self._submitted = Submitted(
            job=self.job, name=spec.name, n_tasks=spec.n_tasks, graph=graph, options=options, client=self._connection.name
        )
        self._early = []
        whole = encode(self._submitted)
        if len(whole) <= streams.INLINE_GRAPH_BYTES:
            self._connection.thread.soon(self._begin, self._send_submitted, whole)
        else:
            encoded = encode(spec)
            if len(encoded) > MAX_GRAPH_BYTES:
                raise GraphError(
                    f"graph {spec.name!r:.80} has {len(encoded):,} bytes, more than {MAX_GRAPH_BYTES:,}: "
                    "load or make large arguments in tasks"
                )
            key = graph_key(encoded)
            by_key = msgspec.structs.replace(self._submitted, graph=GraphSource(key=key, sink=sink))
            self._connection.thread.soon(self._begin, partial(self._send_large, encode(by_key), key), encoded)

    async def attach(self, *, stay: bool = False) -> None:
        """Follow a job that was submitted before. Raises NoSuchJob, and ClusterFailed if its log cannot be read.

        stay: continue after its end, until `stop`.
        """
        self._stays = stay
        self._connection.watch(self)
        bus = self._connection.bus
        await self._connection.submissions.settled(SETTINGS.flush_seconds, self.job)
        self.submitted.set()
        first = await bus.first_seq(streams.LOG.name, subjects.submitted(self.job))
        if not first:  # other messages about it may be from a newer release, which is a different error
            first = await bus.first_seq(streams.LOG.name, *subjects.decided_of(self.job))
        if not first:
            self.ledger  # noqa: B018 - raises, because there is none
        self._attaching = True
        feed = await LogFeed.open(bus, subjects.for_job(self.job), self.on_entries, from_seq=first)
        self._watch(feed)
        try:
            await until_followed(feed)
            self.ledger  # noqa: B018 - raises if there is none
        except HeadraceError:
            await feed.close()
            raise
        finally:
            self._attaching = False
        self._close_feed_if_over()

    def _begin(self, send: Callable[[bytes], None], encoded: bytes) -> None:
        self._connection.watch(self)
        self._connection.known.add_job(self.job, lambda: entry_of(self.ledger))
        self._connection.submissions.begin_submission(self.job)
        if self._connection.feeds.add_follower(self.job, self) and self._connection.admission.is_sure:
            send(encoded)
        else:
            self._start(self._send_when_ready(send, encoded))
        self._connection.thread.loop.call_soon(lambda: self.ledger)  # made while the request is on its way

    async def _send_when_ready(self, send: Callable[[bytes], None], encoded: bytes) -> None:
        """Send the submission, if the cluster admits the job, once a feed is open that receives its messages."""
        try:
            if not self._connection.admission.is_sure:
                await self._connection.admission.check()
        except JobFailed as error:
            self._early = None
            self._give_up(error)
            return
        feed = await self._connection.feeds.open_for(self.job)
        if feed is not None:
            self._watch(feed)
        send(encoded)

    def _send_submitted(self, encoded: bytes) -> None:
        """Publish the submission so that the log stores it once, even if it is resent after the stream has forgotten its id."""
        stored = self._connection.bus.publish(
            subjects.submitted(self.job), encoded, msg_id=f"submitted.{self.job}", expected_last_subject_seq=0, job=self.job
        )
        self._storing = stored
        stored.add_done_callback(partial(self._stored, streams.LOG.name, now()))
        stored.add_done_callback(self._submission_done)

    def _send_large(self, by_key: bytes, key: str, graph: bytes) -> None:
        self._start(self._submit_large(by_key, key, graph))

    async def _submit_large(self, by_key: bytes, key: str, graph: bytes) -> None:
        await self._connection.bus.objects(streams.GRAPHS.name).put(key, graph)
        self._send_submitted(by_key)

    async def withdraw(self, error: HeadraceError) -> None:
        """Give the job up with this error, unless the log has it: its submission is not resent."""
        if self.submitted.is_set():
            return
        self._early = None
        for sending in (self._storing, *self._tasks):
            if sending is not None:
                sending.cancel()
        self.fail(error)

    def _submission_done(self, stored: asyncio.Future[int]) -> None:
        self.stored = self.stored or not (stored.cancelled() or stored.exception())
        early, self._early = self._early, None
        for request in early or ():
            self._send_request(request)
        self._settle_submission()

    def _settle_submission(self) -> None:
        """Note that the submission is in the log, or never will be."""
        self.submitted.set()
        self._connection.submissions.end_submission(self.job)

    def _watch(self, feed: LogFeed) -> None:
        self._feed = feed
        feed.ended.add_done_callback(self._feed_ended)
        self._close_feed_if_over()

    def _close_feed_if_over(self) -> None:
        if self._feed is not None and self.over.is_set() and not self._attaching and not self._stays:
            self._start(self._feed.close())

    # --- requests -------------------------------------------------------------------------------------------------------

    async def cancel(self, reason: str) -> bool:
        """Ask the cluster to cancel the job, and wait until the log confirms it.

        Returns False if the job had already ended. Raises the error that ended the connection.
        """
        if not self._is_answered():
            answered = asyncio.get_running_loop().create_future()
            self._asking.append(answered)
            self._send_request(encode(Cancel(job=self.job, reason=reason)))
            await answered
        if self.error is not None:
            raise self.error
        return self.ledger.cancel_asked is not None

    def _is_answered(self) -> bool:
        """Return whether the log has confirmed the cancel request, or never will."""
        return self.over.is_set() or self.ledger.cancel_asked is not None

    def _answer(self) -> None:
        """Wake the callers of `cancel` if the request was confirmed."""
        if self._asking and self._is_answered():
            asking, self._asking = self._asking, []
            for answered in asking:
                if not answered.done():
                    answered.set_result(None)

    def release(self) -> None:
        """Tell the hosts, once, that they need not keep the job's outputs. This is delayed until the caller's next request has been sent.

        No host keeps outputs whose values came with the log, or outputs in sinks: if all are such, nothing is sent.
        """
        if not self._released and len(self.ledger.values) < self.ledger.n_held:
            self._released = True
            self._connection.later(SETTINGS.release_seconds, self._send_request, encode(Release(job=self.job)))

    def request(self, request: Request) -> None:
        """Send a request about the job."""
        self._connection.thread.soon(self._send_request, encode(request))

    def _send_request(self, data: bytes) -> None:
        if self._early is not None:
            self._early.append(data)
            return
        stored = self._connection.bus.publish(subjects.request(self.job), data, job=self.job)
        stored.add_done_callback(partial(self._stored, streams.REQUESTS.name, now()))

    def _stored(self, stream: str, began: int, stored: asyncio.Future[int]) -> None:
        if self._connection.bus.tracing is not None:
            self._connection.bus.tracing.sent(self.job, stream, began, {})
        if not stored.cancelled() and (error := stored.exception()) is not None:
            self._give_up(error)

    # --- waiting and values ----------------------------------------------------------------------------------------------

    def add_waiter(self, waiter: Waiter) -> None:
        """Set this waiter's event when its dataset is available. On the connection's thread."""
        self._waiters.append(waiter)
        self._wake()

    async def fetch(self, datasets: Iterable[int]) -> dict[int, memoryview | bytes]:
        """Return the encoded values of available outputs. Wait for those that were lost with their host until they are available again.

        Raises OutputsLost for outputs that were released (even if a host happens to still have them), that cannot be computed again, or
        that cannot be fetched although the log says that a host has them.
        """
        return await fetch_values(self, self._connection, datasets)

    async def follow_again(self) -> Following:
        """Read the log of the job from its beginning, and continue to follow it. Raises the errors of `attach`."""
        again = Following(self._connection, self.job)
        await again.attach(stay=True)
        return again

    async def stop(self) -> None:
        """Stop following the job, if this was attached to stay."""
        if self._stays and self._feed is not None:
            await self._feed.close()

    # --- what the log says -----------------------------------------------------------------------------------------------

    def on_entries(self, entries: list[Entry]) -> None:
        """Fold entries of the log, and wake the waiters that they concern."""
        if self._submitted is not None:
            self.ledger  # noqa: B018 - made here if the log was faster
        for entry in entries:
            self._ledger.fold(entry)
            note = _NOTED.get(type(entry.message))
            if note is not None:
                note(self._started, entry.message)
        ledger = self._ledger.jobs.get(self.job)
        if ledger is None:  # messages about hosts, before those of the job
            return
        ledger.take_changes()
        if ledger.end is None and ledger.done_by_values:
            self._ledger.apply(
                Ended(at=self._ledger.last_seq, term=self._ledger.terms[CONTROLLER], job=self.job, state="done"), entries[-1].time
            )
        self._wake()
        self._answer()
        if ledger.end is not None:
            self._finish()

    def _wake(self) -> None:
        if not self._waiters:
            return
        ledger = self.ledger
        ready = [waiter for waiter in self._waiters if self.over.is_set() or ledger.readable(waiter.dataset)]
        for waiter in ready:
            self._waiters.remove(waiter)
            waiter.event.set()

    def _finish(self) -> None:
        if self.over.is_set():
            return
        self.over.set()
        if self._submitted is not None:
            self._settle_submission()
        self._wake()
        self._answer()
        if self._connection.bus.tracing is not None:
            self._connection.bus.tracing.finish(self.job, self._why_not_done())
        self._connection.feeds.remove(self.job, self)
        self._tell_end()
        self._close_feed_if_over()

    def _tell_end(self) -> None:
        """Tell the connection how the job ended."""
        found = self._ledger.jobs.get(self.job)
        if found is None or found.end is None:
            self._connection.known.forget_job(self.job)
        else:
            self._connection.known.end_job(entry_of(found), found.n_outputs if found.end.state == "done" else 0)

    def _why_not_done(self) -> str:
        """Return why the job ended without all its outputs; empty if it is done."""
        if self.error is not None:
            return str(self.error)
        end = self._ledger.jobs[self.job].end if self.job in self._ledger.jobs else None
        return "" if end is None or end.state == "done" else end.reason or end.state

    def fail(self, error: HeadraceError) -> None:
        """End the following with an error."""
        if not self.over.is_set():
            self.error = error
            self._finish()

    def _give_up(self, error: BaseException) -> None:
        if isinstance(error, HeadraceError):
            self.fail(error)
        elif not isinstance(error, asyncio.CancelledError):
            failure = JobFailed(f"job {self.job} cannot be followed: {type(error).__name__}: {error}")
            failure.__cause__ = error
            self.fail(failure)

    def _feed_ended(self, ended: asyncio.Future[None]) -> None:
        if not ended.cancelled() and (error := ended.exception()) is not None:
            self._give_up(cannot_follow(error))

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._give_up(error)
