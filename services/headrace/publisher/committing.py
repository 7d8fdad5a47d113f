"""Carries out the actions on sinks in threads. Each job has a lane of its own, so that no job waits for the sink of another."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from headrace.errors import SinkRefused
from headrace.logs import get_log
from headrace.publisher.commits import Action, Commit, Remove, Sweep
from headrace.publisher.settings import Settings
from headrace.sinks import files
from headrace.sinks.allowed import Allowed
from headrace.text import shown_place

log = get_log(__name__)

OnDone = Callable[[str], None]


class Work:
    """An action that waits for its turn. slow: whether it has taken so long that other jobs need not wait for it."""

    def __init__(self, action: Action, done: OnDone, tries: int) -> None:
        self.action = action
        self.done = done
        self.tries = tries
        self.slow = False
        self.timer: asyncio.TimerHandle | None = None


class JobLane:
    """The actions of one job: those that wait, and the number of those that run."""

    def __init__(self) -> None:
        self.waiting: deque[Work] = deque()
        self.running = 0


class Committer:
    """Commits and removes files: a few of each job at a time, with the jobs in turn.

    It retries what a file system refuses, but not files that are missing or not allowed.

    An action that takes long keeps its place in its job's lane, but none of the places that all jobs share.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[str, JobLane] = {}
        self._able: dict[str, None] = {}
        """Jobs whose next action may start, in turn."""
        self._running = self._slow = 0
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._threads = self._idle = 0
        self._closed = False

    def start_action(self, action: Action, done: OnDone) -> None:
        """Carry out an action in its turn. `done` is called on this loop with the reason for a failure; the reason is empty on success."""
        self._add(Work(action, done, self._settings.commit_tries))

    def close(self) -> None:
        """Stop. The next leader carries out the actions that have not started."""
        self._closed = True
        self._lanes.clear()
        self._able.clear()
        for _ in range(self._threads):
            self._work.put(None)

    # --- on the loop ------------------------------------------------------------------------------------------------------

    def _add(self, work: Work) -> None:
        if self._closed:
            return
        lane = self._lanes.setdefault(work.action.job, JobLane())
        lane.waiting.append(work)
        self._offer(work.action.job, lane)
        self._go_on()

    def _offer(self, job: str, lane: JobLane) -> None:
        """Allow a job to start its next action in its turn."""
        if lane.waiting and lane.running < self._settings.commits_of_job:
            self._able.setdefault(job)

    def _go_on(self) -> None:
        while self._able and self._running - self._slow < self._settings.commits and self._running < self._settings.most_commits:
            job = next(iter(self._able))
            del self._able[job]
            lane = self._lanes[job]
            self._begin(lane, lane.waiting.popleft())
            self._offer(job, lane)

    def _begin(self, lane: JobLane, work: Work) -> None:
        lane.running += 1
        self._running += 1
        work.timer = self._loop.call_later(self._settings.slow_seconds, self._is_slow, work)
        if self._idle:
            self._idle -= 1
        else:  # no pool, because the process would wait for it at its end, and a file system may never answer
            self._threads += 1
            threading.Thread(target=self._serve, name="sink", daemon=True).start()
        self._work.put(work)

    def _is_slow(self, work: Work) -> None:
        work.slow = True
        self._slow += 1
        log.warning("an action on a sink takes long; only its own job waits for it", action=_name(work.action), job=work.action.job)
        self._go_on()

    def _ended(self, work: Work, error: str, again: bool) -> None:
        self._idle += 1
        self._running -= 1
        self._slow -= work.slow
        work.slow = False
        if work.timer is not None:
            work.timer.cancel()
        if self._closed:
            return
        job = work.action.job
        lane = self._lanes[job]
        lane.running -= 1
        self._try_again(work, error) if again and work.tries > 1 else work.done(error)
        self._offer(job, lane)
        if not lane.waiting and not lane.running:
            self._lanes.pop(job, None)
        self._go_on()

    def _try_again(self, work: Work, error: str) -> None:
        log.warning("an action on a sink is tried again", action=_name(work.action), error=error)
        work.tries -= 1
        self._loop.call_later(self._settings.commit_delay_seconds, self._add, work)

    # --- in threads -------------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            error, again = self._try(work.action)
            try:
                self._loop.call_soon_threadsafe(self._ended, work, error, again)
            except RuntimeError:
                return  # the loop is closed

    def _try(self, action: Action) -> tuple[str, bool]:
        """Carry out an action. Returns the reason for a failure, and whether a retry may help."""
        try:
            self.carry_out(action)
        except (files.NotThere, SinkRefused) as error:
            return str(error), False
        except Exception as error:  # a file system may raise anything
            return f"{type(error).__name__}: {error}", True
        return "", False

    def carry_out(self, action: Action) -> None:
        """Carry out an action now. Raises NotThere, SinkRefused, and the errors of the file system."""
        _CARRY_OUT[type(action)](action, self._settings.allowed)


def _commit(action: Commit, allowed: Allowed) -> None:
    written = action.written
    root = allowed.check_file(written.location)
    files.commit(written.part, written.location, action.sink.options, files.Receipt(written.bytes, written.checksum), root)


def _remove(action: Remove, allowed: Allowed) -> None:
    files.remove(action.part, action.sink.options, allowed.check_file(action.part))


def _sweep(action: Sweep, allowed: Allowed) -> None:
    files.sweep(action.folder, action.job, action.sink.options, allowed.check_file(f"{action.folder}/."))


_CARRY_OUT: dict[type[Any], Callable[[Any, Allowed], None]] = {Commit: _commit, Remove: _remove, Sweep: _sweep}
"""The function for each type of action."""
_NAMES: dict[type[Any], Callable[[Any], str]] = {
    Commit: lambda action: f"the commit of {shown_place(action.written.location)}",
    Remove: lambda action: f"the removal of {action.part}",
    Sweep: lambda action: f"the removal of parts in {action.folder}",
}
"""The description of each type of action, for the log."""


def _name(action: Action) -> str:
    return _NAMES[type(action)](action)
