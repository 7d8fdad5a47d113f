"""`headrace watch`: a live view of one job."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from headrace.bus import Bus, BusSettings, Entry, LogFeed
from headrace.cli.tables import as_it_is, new_table
from headrace.client.connection import check_job_id, until_read
from headrace.client.failure import without_modules
from headrace.client.settings import SETTINGS
from headrace.errors import NoSuchJob
from headrace.ledger import Ledger
from headrace_schemas import subjects

if TYPE_CHECKING:
    from headrace.ledger import JobLedger

RATE_SECONDS = 5.0
"""The view shows the throughput of the last `RATE_SECONDS` seconds."""
FAILURES, FUNCTIONS = 5, 8
"""How many failures (the last ones) and functions (those that took most time) the view shows."""
BAR_WIDTH = 40
NOT_DONE = 1
"""Exit status for a job that failed or was cancelled."""


class Watched:
    """The state of a job and its recent speed. Times are in seconds, by the log's clock."""

    def __init__(self, job: str) -> None:
        self.ledger = Ledger()
        self.over = asyncio.Event()
        self._job = job
        self._began = self._last = 0.0
        self._counted: deque[tuple[float, int]] = deque()

    def take(self, entries: list[Entry]) -> None:
        """Fold entries of the log."""
        for entry in entries:
            self.ledger.fold(entry)
            if self.job is not None:
                self._began = self._began or entry.time
                self._last = entry.time
        if self.job is not None and self.job.end is not None:
            self.over.set()

    @property
    def job(self) -> JobLedger | None:
        """The job; None before its submission."""
        return self.ledger.jobs.get(self._job)

    def elapsed(self, now: float) -> float:
        """Return the time since its submission, until now or its end."""
        return max(0.0, (self._last if self.over.is_set() else now) - self._began)

    def rate(self, now: float) -> float:
        """Return the tasks done per second, over the last `RATE_SECONDS`, or over the whole run of a job that has ended."""
        done = self.job.n_done if self.job is not None else 0
        if self.over.is_set():
            return done / max(self.elapsed(now), 1e-9)
        self._counted.append((now, done))
        while now - self._counted[0][0] > RATE_SECONDS:
            self._counted.popleft()
        since, before = self._counted[0]
        return (done - before) / (now - since) if now > since else 0.0


def view(watched: Watched, now: float) -> Group:
    """Return the view of a job that has been submitted."""
    job = watched.job
    assert job is not None
    parts: list[Text | Table] = [_headline(job), _progress(watched, job, now), _hosts(watched.ledger, job)]
    if job.profile:
        parts.append(_functions(job))
    if job.failures:
        parts.append(_failures(job))
    return Group(*parts)


def _headline(job: JobLedger) -> Text:
    style = {"done": "bold green", "failed": "bold red", "cancelled": "bold yellow"}.get(job.phase, "bold")
    line = as_it_is(f"{job.job}  {job.name}  ").append(job.phase, style=style)
    if job.end is not None and (reason := job.end.reason):
        line.append(as_it_is(f": {reason}"))
    return line


def _progress(watched: Watched, job: JobLedger, now: float) -> Table:
    line = Table.grid(padding=(0, 2))
    counts = job.task_counts()
    rate, left = watched.rate(now), job.n_tasks - job.n_done
    told = f"{job.n_done:,} of {job.n_tasks:,} tasks, {counts['started']:,} running, {rate:,.0f}/s, {watched.elapsed(now):.1f} s"
    if left and rate and not watched.over.is_set():
        told += f", about {left / rate:.0f} s left"
    line.add_row(ProgressBar(total=max(1, job.n_tasks), completed=job.n_done, width=BAR_WIDTH), Text(told))
    return line


def _hosts(ledger: Ledger, job: JobLedger) -> Table:
    """Return a row for each host that works or worked on the job, or could do so."""
    table = new_table("host", "state", "runners", "done", "running", "store", pad_edge=False)
    done, running = _tasks_by_host(job, "done"), _tasks_by_host(job, "started")
    for name in sorted({*job.hosts, *ledger.hosts.alive()}):
        index = job.host_ids.get(name)
        record = ledger.hosts.get(name)
        alive = record is not None and record.alive
        counted = [str(counts[index]) if index is not None else "0" for counts in (done, running)]
        used = f"{job.memory_used.get(name, 0) / 1e6:,.0f} MB"
        state = Text("up", style="green") if alive else Text("lost", style="red")
        table.add_row(Text(name), state, str(record.runners) if record else "", *counted, used)
    return table


def _tasks_by_host(job: JobLedger, state: str) -> list[int]:
    names = list(job.task_counts())
    there = job.host[(job.state == names.index(state)) & (job.host >= 0)]
    counts: list[int] = np.bincount(there, minlength=len(job.hosts)).tolist()
    return counts


def _functions(job: JobLedger) -> Table:
    table = new_table("function", "tasks", "mean", "longest", "in all", pad_edge=False)
    slowest = sorted(job.profile.items(), key=lambda item: -item[1][1])[:FUNCTIONS]
    for function, (count, total, longest) in slowest:
        times = [f"{seconds * 1e3:,.2f} ms" for seconds in (total / max(1, count), longest)]
        table.add_row(as_it_is(job.spec.functions[function].name), f"{count:,}", *times, f"{total:,.1f} s")
    return table


def _failures(job: JobLedger) -> Table:
    table = new_table("failed", "attempt", "how", "error", pad_edge=False)
    last = [error for attempts in job.failures.values() for error in attempts.values()][-FAILURES:]
    for error in last:
        text = as_it_is(without_modules(error.error), style="red")
        table.add_row(as_it_is(error.name or job.task_name(error.task)), str(error.attempt), error.reason, text)
    return table


def watch_job(job: str, settings: BusSettings) -> int:
    """Show a job until it ends; if standard output is not a terminal, print only the end. Returns the exit status. Raises NoSuchJob."""
    check_job_id(job)
    return asyncio.run(_watch(Watched(job), job, settings))


async def _watch(watched: Watched, job: str, settings: BusSettings) -> int:
    async with await Bus.connect(settings, "headrace-watch") as bus:
        feed = await LogFeed.open(bus, subjects.for_job(job), watched.take)
        await until_read(feed)
        if watched.job is None:
            raise NoSuchJob(f"job {job!r} is not in the log: check its id, or it has aged out")
        over: asyncio.Future[Any] = asyncio.ensure_future(watched.over.wait())
        with Live(view(watched, time.time()), console=Console(), auto_refresh=False) as live:
            while not (over.done() or feed.ended.done()):
                await asyncio.wait([over, feed.ended], timeout=SETTINGS.progress_seconds, return_when=asyncio.FIRST_COMPLETED)
                live.update(view(watched, time.time()), refresh=True)
        over.cancel()
        if feed.ended.done():
            feed.ended.result()
        return 0 if watched.job.phase == "done" else NOT_DONE
