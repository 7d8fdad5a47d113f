"""A client's connection: its thread, its bus, and the jobs that it follows."""

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
from headrace_schemas import HostJoined, HostLost, JobEntry, TermBegan, decoder, streams, subjects

_ID_LENGTH = 12
"""60 random bits: no two of a billion jobs have the same id."""
_ID_LETTERS = (string.ascii_lowercase + "234567").encode() * 8
"""The letter or digit for each byte: 32 different ones, each equally probable."""
_job_entries = decoder(JobEntry)
_SCHEMES = ("nats", "tls", "ws", "wss")


class Watcher:
    """Something that waits on behalf of a caller's thread, and must learn of the connection's end."""

    def fail(self, error: HeadraceError) -> None:
        """Note that the connection ended. Called on its loop."""
        raise NotImplementedError


class Follower(Watcher):
    """Something that folds the log of one job."""

    def on_entries(self, entries: list[Entry]) -> None:
        """Process the next entries of the job. Called on the connection's loop."""
        raise NotImplementedError


class Alarm(Watcher):
    """An event that is set at the connection's end; `error` says what ended it."""

    def __init__(self, event: threading.Event) -> None:
        self.error: HeadraceError | None = None
        self._event = event

    def fail(self, error: HeadraceError) -> None:
        """Remember the error and set the event."""
        self.error = error
        self._event.set()


class Connection:
    """One connection to a cluster. Its methods may be called from any thread; coroutines and callbacks run on its own.

    A connection `of_its_own` to a local cluster creates the cluster's streams. All jobs of that cluster are its own, so it follows them
    with one feed that is open from the start, which saves opening one for each job.

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
        """Names of the hosts in the cluster."""
        return self._ledger.hosts.alive()

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Address of each host's data plane."""
        hosts = self._ledger.hosts
        return {name: split_address(hosts[name].address) for name in hosts.alive()}

    def call(self, coroutine: Coroutine[Any, Any, Any], timeout: float | None = None) -> Any:
        """Run a coroutine on the connection's thread, and return its result.

        Raises the error that ended the connection, if it has ended.
        """
        try:
            self.check()
        except HeadraceError:
            coroutine.close()
            raise
        return self.thread.call(coroutine, timeout)

    def later(self, seconds: float, function: Callable[..., object], *args: object) -> None:
        """Call a function on the connection's thread after `seconds`, or when the connection is closed."""
        self.thread.soon(self._put_off, seconds, function, args)

    def _put_off(self, seconds: float, function: Callable[..., object], args: tuple[object, ...]) -> None:
        def run() -> None:
            if run in self._put_offs:
                self._put_offs.discard(run)
                function(*args)

        self._put_offs.add(run)
        self.thread.loop.call_later(seconds, run)

    def check(self) -> None:
        """Raise the error that ended the connection, if it has ended, and ClusterClosed in a fork of the process."""
        if self.error is not None:
            raise self.error
        self.thread.check()

    def watch(self, watcher: Watcher) -> None:
        """Notify a watcher of the connection's end. On the connection's thread."""
        if self.error is not None:
            watcher.fail(self.error)
        else:
            self._watchers.add(watcher)

    def fail(self, error: HeadraceError) -> None:
        """End the connection with this error, for everybody who waits. On the connection's thread."""
        if self.error is None:
            self.error = error
            self._changed.set()
            for watcher in list(self._watchers):
                watcher.fail(error)

    async def wait_hosts(self, count: int) -> None:
        """Wait until `count` hosts have joined. Raises the error that ended the connection."""
        while len(self.hosts) < count:
            if self.error is not None:
                raise self.error
            self._changed.clear()
            await self._changed.wait()

    async def jobs(self) -> list[JobEntry]:
        """Return the cluster's jobs, oldest first."""
        found = await self.bus.kv(streams.JOBS.name).entries()
        records = [Record(entry.revision, 0.0, entry.key, entry.value) for entry in found.values()]
        entries = [read_value(_job_entries, streams.JOBS.name, record, self.bus.reading) for record in records]
        known = self.known.added_to(entry for entry in entries if entry is not None)
        return sorted(known, key=lambda entry: entry.submitted)

    async def data_key(self) -> bytes:
        """Return the key of the cluster's data plane, which is read once."""
        if self._key is None:
            self._key = asyncio.ensure_future(self._read_key())
        return await asyncio.shield(self._key)

    async def _read_key(self) -> bytes:
        entry = await self.bus.kv(streams.SECRETS.name).get(streams.DATA_KEY)
        if entry is None:
            raise ClusterFailed("no host has ever joined this cluster: its data plane has no key. Start a worker")
        key = read_data_key(entry.value)
        if not key:
            raise ClusterFailed("the key of this cluster's data plane is invalid. Restart its controller, which creates a new one")
        return key

    def close(self, *, flush: bool) -> None:
        """Leave the cluster. flush: first wait until everything sent is stored, for a cluster that continues."""
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
        """Note which hosts joined and left. On a connection of its own local cluster, also pass on the entries of all jobs."""
        for entry in entries:
            if isinstance(entry.message, HostJoined | HostLost):
                self._ledger.fold(entry)
                self._changed.set()
        if self._of_its_own:
            self._pass_on(entries)

    def _pass_on(self, entries: list[Entry]) -> None:
        """Pass the entries of a feed on to the jobs that follow it. Each job gets all of its entries of this feed, in order."""
        of_jobs: dict[str, list[Entry]] = {}
        for entry in entries:
            message = entry.message
            if isinstance(message, HostJoined | HostLost | TermBegan):
                for job in self.feeds.shared:  # each changes what later messages of any job mean
                    of_jobs.setdefault(job, []).append(entry)
            elif message.job in self.feeds.shared:
                of_jobs.setdefault(message.job, []).append(entry)
        for job, found in of_jobs.items():
            follower = self.feeds.open[job]
            try:
                follower.on_entries(found)
            except Exception as error:  # other jobs continue
                failure = ClusterFailed(f"job {job} can no longer be followed: {error}")
                failure.__cause__ = error
                follower.fail(failure)

    def _feed_ended(self, ended: asyncio.Future[None]) -> None:
        if not ended.cancelled() and (error := ended.exception()) is not None:
            self.fail(cannot_follow(error))


async def until_read(feed: Followed) -> None:
    """Wait until a feed has passed on everything that existed.

    Raises ClusterFailed if that takes too long, and the error that ended the feed.
    """
    try:
        async with asyncio.timeout(SETTINGS.attach_seconds):
            await until_caught_up(feed)
    except TimeoutError:
        raise ClusterFailed(
            f"the cluster's messages could not be read within {SETTINGS.attach_seconds:g} s: check its NATS server"
        ) from None


async def until_followed(feed: Followed) -> None:
    """Wait like `until_read`. Raises ClusterFailed for any error that ended the feed."""
    try:
        await until_read(feed)
    except Exception as error:
        raise cannot_follow(error) from error


def cannot_follow(error: BaseException) -> ClusterFailed:
    """Return the error for a client whose feed ended."""
    failure = ClusterFailed(f"cannot follow the log: {error}")
    failure.__cause__ = error
    return failure


def check_urls(urls: str) -> None:
    """Raise NatsUnreachable unless the text is an address of a server, or several separated by commas."""
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
    """Return the job's id. Raises NoSuchJob if the text cannot be an id."""
    try:
        return subjects.token(job)
    except (TypeError, ValueError):
        raise NoSuchJob(f"{job!r:.80} is not the id of a job: `headrace jobs` and Cluster.jobs() list the ids") from None


def new_job_id() -> str:
    """Return a random id for a job: 12 letters and digits."""
    return os.urandom(_ID_LENGTH).translate(_ID_LETTERS).decode()
