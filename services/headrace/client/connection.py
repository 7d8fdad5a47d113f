"""A client's connection: its thread, its place on the bus, and what it follows there."""

from __future__ import annotations

import asyncio
import os
import socket
import string
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from headrace.bus import Bus, BusSettings, Entry, LogFeed, Record, read_data_key, read_value, until_caught_up
from headrace.bus.feed import Followed
from headrace.client.admission import Admission
from headrace.client.feeds import Feeds
from headrace.client.known import Known
from headrace.client.loop_thread import CLOSED, LoopThread
from headrace.client.relayed import Routes
from headrace.client.settings import SETTINGS
from headrace.client.submissions import Submissions
from headrace.errors import ClusterClosed, ClusterFailed, HeadraceError, JetStreamRefused, NatsUnreachable, NoSuchJob
from headrace.ledger import Ledger
from headrace.link import split_address
from headrace.text import redacted
from headrace_schemas import HostJoined, HostLost, JobEntry, decoder, streams, subjects

_ID_LENGTH = 12
"""60 random bits: no two of a billion jobs have the same id."""
_ID_LETTERS = (string.ascii_lowercase + "234567").encode() * 8
"""By byte: the letter or digit for it, 32 of them, each as probable."""
_job_entries = decoder(JobEntry)
_SCHEMES = ("nats", "tls", "ws", "wss")


class Watcher:
    """Something that waits, on behalf of a caller's thread, and has to hear of the connection's end."""

    def fail(self, error: HeadraceError) -> None:
        """The connection ended. Called on its loop."""
        raise NotImplementedError


class Follower(Watcher):
    """Something that folds what the log says of one job."""

    def on_entries(self, entries: list[Entry]) -> None:
        """The next entries of the job. Called on the connection's loop."""
        raise NotImplementedError


class Alarm(Watcher):
    """Sets an event at the connection's end; `error` says what ended it."""

    def __init__(self, event: threading.Event) -> None:
        self.error: HeadraceError | None = None
        self._event = event

    def fail(self, error: HeadraceError) -> None:
        """Remember the error and set the event."""
        self.error = error
        self._event.set()


class Connection:
    """One connection to a cluster. Its methods may be called from any thread; coroutines and callbacks run on its own.

    A connection `of_its_own` to a local cluster makes the cluster's streams, and follows all jobs with one feed that is open from the
    start, for they are its own; that saves a job the opening of one.

    bus: for use on the connection's thread only. feeds: receive the messages of jobs submitted here. known: the state of these jobs.
    submissions: those that are not stored in the log yet. routes: how values are fetched (via: see `Routes`).
    """

    def __init__(self, settings: BusSettings, *, of_its_own: bool = False, via: str = "") -> None:
        check_urls(settings.url)
        self.routes = Routes(via)
        self.name = f"client-{socket.gethostname()}-{os.getpid()}"
        self._ledger = Ledger()
        self.thread = LoopThread("headrace-client")
        self.error: HeadraceError | None = None
        self._of_its_own = of_its_own
        self._put_offs: set[Callable[[], None]] = set()
        self.feeds: Feeds
        self.known = Known()
        self.submissions = Submissions()
        self._watchers: weakref.WeakSet[Watcher] = weakref.WeakSet()
        self._changed: asyncio.Event
        self.admission: Admission
        self._key: asyncio.Task[bytes] | None = None
        try:
            self.bus: Bus = self.thread.call(self._open(settings))
        except BaseException:
            self.thread.stop()
            raise

    async def _open(self, settings: BusSettings) -> Bus:
        self._changed = asyncio.Event()
        bus = await Bus.connect(settings, self.name)
        self.feeds = Feeds(bus, self._pass_on, self._feed_ended, for_all=self._of_its_own)
        try:
            if self._of_its_own:
                await bus.ensure_streams()
            wanted = subjects.for_client() if self._of_its_own else [subjects.ALL_HOSTS]
            self._feed = await LogFeed.open(bus, wanted, self._on_entries, whole=self._of_its_own)
            if not self._of_its_own:
                await until_followed(self._feed)
        except JetStreamRefused as error:
            await bus.close()
            raise ClusterFailed(
                f"there is no Headrace cluster at {settings.shown_url}: start a controller there first ({error})"
            ) from error
        except BaseException:
            await bus.close()
            raise
        self._feed.ended.add_done_callback(self._feed_ended)
        self.admission = Admission(bus)
        return bus

    @property
    def hosts(self) -> list[str]:
        """Names of the hosts that are at work."""
        return self._ledger.hosts.alive()

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Where the data plane of each host that is at work listens."""
        hosts = self._ledger.hosts
        return {name: split_address(hosts[name].address) for name in hosts.alive()}

    def call(self, coroutine: Coroutine[Any, Any, Any], timeout: float | None = None) -> Any:
        """Run a coroutine on the connection's thread and wait for what it returns. Raises what ended the connection, if it has."""
        try:
            self.check()
        except HeadraceError:
            coroutine.close()
            raise
        return self.thread.call(coroutine, timeout)

    def later(self, seconds: float, function: Callable[..., object], *args: object) -> None:
        """Call a function on the connection's thread, in so many seconds or when the connection is closed."""
        self.thread.soon(self._put_off, seconds, function, args)

    def _put_off(self, seconds: float, function: Callable[..., object], args: tuple[object, ...]) -> None:
        def run() -> None:
            if run in self._put_offs:
                self._put_offs.discard(run)
                function(*args)

        self._put_offs.add(run)
        self.thread.loop.call_later(seconds, run)

    def check(self) -> None:
        """Raises what ended the connection, if it has ended; ClusterClosed in a fork of the process."""
        if self.error is not None:
            raise self.error
        self.thread.check()

    def watch(self, watcher: Watcher) -> None:
        """Tell this one of the connection's end. On the connection's thread."""
        if self.error is not None:
            watcher.fail(self.error)
        else:
            self._watchers.add(watcher)

    def fail(self, error: HeadraceError) -> None:
        """End it for everybody who waits, with this error. On the connection's thread."""
        if self.error is None:
            self.error = error
            self._changed.set()
            for watcher in list(self._watchers):
                watcher.fail(error)

    async def wait_hosts(self, count: int) -> None:
        """Until so many hosts have joined. Raises what ended the connection."""
        while len(self.hosts) < count:
            if self.error is not None:
                raise self.error
            self._changed.clear()
            await self._changed.wait()

    async def jobs(self) -> list[JobEntry]:
        """What the cluster knows of its jobs, oldest first."""
        found = await self.bus.kv(streams.JOBS.name).entries()
        records = [Record(entry.revision, 0.0, entry.key, entry.value) for entry in found.values()]
        entries = [read_value(_job_entries, streams.JOBS.name, record, self.bus.reading) for record in records]
        known = self.known.added_to(entry for entry in entries if entry is not None)
        return sorted(known, key=lambda entry: entry.submitted)

    async def data_key(self) -> bytes:
        """The key of the cluster's data plane, asked for once."""
        if self._key is None:
            self._key = asyncio.ensure_future(self._read_key())
        return await asyncio.shield(self._key)

    async def _read_key(self) -> bytes:
        entry = await self.bus.kv(streams.SECRETS.name).get(streams.DATA_KEY)
        if entry is None:
            raise ClusterFailed("no host has ever joined this cluster: its data plane has no key. Start a worker")
        key = read_data_key(entry.value)
        if not key:
            raise ClusterFailed("the key of this cluster's data plane cannot be read. Restart its controller, which makes a new one")
        return key

    def close(self, *, flush: bool) -> None:
        """Leave. flush: make sure first that what was sent is stored, for a cluster that goes on."""
        try:
            if flush:
                self.thread.call(self.submissions.settled(SETTINGS.submit_seconds if self.bus.connected else SETTINGS.flush_seconds))
            self.thread.call(self._leave(flush), SETTINGS.flush_seconds)
        except (ClusterClosed, TimeoutError):
            pass
        finally:
            self.thread.stop()

    async def _leave(self, flush: bool) -> None:
        self.fail(ClusterClosed(CLOSED))
        if flush:
            for run in list(self._put_offs):
                run()
            await self.bus.flush_acks(SETTINGS.flush_seconds)
            await self.bus.close()
        elif self.bus.tracing is not None:
            await asyncio.to_thread(self.bus.tracing.close)

    def _on_entries(self, entries: list[Entry]) -> None:
        """Take in which hosts came and went. Of a local cluster of its own, this is also what all its jobs are followed by."""
        for entry in entries:
            if isinstance(entry.message, HostJoined | HostLost):
                self._ledger.fold(entry)
                self._changed.set()
        if self._of_its_own:
            self._pass_on(entries)

    def _pass_on(self, entries: list[Entry]) -> None:
        """Pass the entries of a feed on to the jobs that are followed by it. Each gets all that it reads from this feed, in its order."""
        of_jobs: dict[str, list[Entry]] = {}
        for entry in entries:
            message = entry.message
            if isinstance(message, HostJoined | HostLost):
                for job in self.feeds.shared:  # what a lost host had is not there any more
                    of_jobs.setdefault(job, []).append(entry)
            elif message.job in self.feeds.shared:
                of_jobs.setdefault(message.job, []).append(entry)
        for job, found in of_jobs.items():
            follower = self.feeds.open[job]
            try:
                follower.on_entries(found)
            except Exception as error:  # the other jobs go on
                failure = ClusterFailed(f"job {job} cannot be followed any more: {error}")
                failure.__cause__ = error
                follower.fail(failure)

    def _feed_ended(self, ended: asyncio.Future[None]) -> None:
        if not ended.cancelled() and (error := ended.exception()) is not None:
            self.fail(cannot_follow(error))


async def until_read(feed: Followed) -> None:
    """Until a feed has passed on everything that there was. Raises ClusterFailed if that takes too long, and what ended it before."""
    try:
        async with asyncio.timeout(SETTINGS.attach_seconds):
            await until_caught_up(feed)
    except TimeoutError:
        raise ClusterFailed(
            f"what the cluster wrote was not read within {SETTINGS.attach_seconds:g} s: see how its NATS server is"
        ) from None


async def until_followed(feed: Followed) -> None:
    """The same. Raises ClusterFailed for whatever ended it."""
    try:
        await until_read(feed)
    except Exception as error:
        raise cannot_follow(error) from error


def cannot_follow(error: BaseException) -> ClusterFailed:
    """What a client is told of that which ended a feed."""
    failure = ClusterFailed(f"the log cannot be followed: {error}")
    failure.__cause__ = error
    return failure


def check_urls(urls: str) -> None:
    """Raises NatsUnreachable for what is no address of a server, or several separated by commas."""
    for url in map(str.strip, urls.split(",")):
        try:
            parts = urlsplit(url if "://" in url else f"nats://{url}")
            parts.port  # noqa: B018 - raises if it is none
        except ValueError as error:
            raise _no_url(url, str(error)) from None
        if parts.scheme not in _SCHEMES:
            raise _no_url(url, f"{parts.scheme!r} is not one of {', '.join(_SCHEMES)}")
        if not parts.hostname:
            raise _no_url(url, "it has no host")


def _no_url(url: str, why: str) -> NatsUnreachable:
    return NatsUnreachable(f"{redacted(url)!r} is not an address of a NATS server: {why}. Give one like nats://127.0.0.1:4222")


def check_job_id(job: str) -> str:
    """The job's id. Raises NoSuchJob for what cannot be one."""
    try:
        return subjects.token(job)
    except (TypeError, ValueError):
        raise NoSuchJob(f"{job!r:.80} is no job's id: `headrace jobs` and Cluster.jobs() list those that there are") from None


def new_job_id() -> str:
    """A random id for a job: 12 letters and digits."""
    return os.urandom(_ID_LENGTH).translate(_ID_LETTERS).decode()
