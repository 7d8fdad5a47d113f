"""`headrace tail`: the log in words, printed while services write it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from headrace.bus import NEW, Bus, BusSettings, Entry, LogFeed
from headrace.client.connection import check_job_id, until_read
from headrace.errors import CannotWrite, NoSuchJob
from headrace.ledger import PUBLISHED, Ledger
from headrace.ledger.narration import Narrator, writer
from headrace_schemas import Ended, Events, HostLost, LogMessage, subjects


class Tail:
    """Turns entries of the log into lines. Create it on an event loop.

    over: done when the followed job has ended and all its outputs are announced, except those that were released before they were made; or
    when lines cannot be written, with the reason. seen: whether the log has the job.
    """

    def __init__(self, job: str, write: Callable[[Text], None]) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.seen = False
        self._job = job
        self._write = write
        self._narrator = Narrator()
        self._ledger = Ledger()
        self._made: set[int] = set()

    def print_entries(self, entries: list[Entry]) -> None:
        """Write a line for each entry."""
        try:
            for entry in entries:
                self._write(self._line(entry))
                if self._job:
                    self._ledger.fold(entry)
            self._look_for_the_end()
        except CannotWrite as error:  # the command reports it; it is no failure of the feed
            if not self.over.done():
                self.over.set_exception(error)

    def _line(self, entry: Entry) -> Text:
        message = entry.message
        time = datetime.fromtimestamp(entry.time).strftime("%H:%M:%S.%f")[:-3]
        line = Text(f"{time}  ", style="")
        if not self._job:
            line.append(f"{getattr(message, 'job', ''):<13} ", style="dim")
        line.append(f"{writer(message):<12} ", style="cyan")
        line.append(f"{message.__struct_config__.tag:<12} ", style="dim")
        return line.append(self._narrator.describe(message), style=_style(message))

    def _look_for_the_end(self) -> None:
        job = self._ledger.jobs.get(self._job)
        if job is None:
            return
        self.seen = True
        self._made.update(job.take_changes().outputs.list())
        if job.end is not None and (job.over or all(job.flag[output] & PUBLISHED for output in self._made)) and not self.over.done():
            self.over.set_result(None)


def _style(message: LogMessage) -> str:
    style = _STYLES.get(type(message))
    return "" if style is None else style(message)


_STYLES: dict[type[Any], Callable[[Any], str]] = {
    Ended: lambda ended: "bold green" if ended.state == "done" else "bold red",
    HostLost: lambda _: "red",
    Events: lambda events: "red" if events.failed or events.gone or events.unreachable else "",
}
"""The style of a line, by the kind of message. Other kinds are plain."""


def tail_log(job: str, settings: BusSettings, *, follow: bool) -> None:
    """Print the log of one job from its beginning until the job ends, or of all jobs from now on without end. Raises NoSuchJob."""
    if job:
        check_job_id(job)
    console = Console(highlight=False)
    asyncio.run(_tail(lambda line: console.print(line, soft_wrap=True), job, settings, follow))


async def _tail(write: Callable[[Text], None], job: str, settings: BusSettings, follow: bool) -> None:
    tail = Tail(job, write)
    async with await Bus.connect(settings, "headrace-tail") as bus:
        wanted = subjects.for_job(job) if job else subjects.LOG_SUBJECTS
        feed = await LogFeed.open(bus, wanted, tail.print_entries, from_seq=1 if job or not follow else NEW)
        await until_read(feed)
        _check(tail.over)
        if job and not tail.seen:
            raise NoSuchJob(f"job {job!r} is not in the log: check its id, or it has aged out")
        if follow:
            await asyncio.wait([tail.over, feed.ended], return_when=asyncio.FIRST_COMPLETED)
            _check(feed.ended)
            _check(tail.over)


def _check(end: asyncio.Future[None]) -> None:
    """Raise the exception that it ended with, if it has ended with one."""
    if end.done():
        end.result()
