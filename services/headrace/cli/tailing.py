"""`headrace tail`: the log in words, as it is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from rich.console import Console
from rich.text import Text

from headrace.bus import NEW, Bus, BusSettings, Entry, LogFeed
from headrace.client.connection import check_job_id, until_read
from headrace.errors import CannotWrite, NoSuchJob
from headrace.ledger import PUBLISHED, Ledger
from headrace.ledger.narration import Narrator, writer
from headrace_schemas import Ended, Events, HostLost, LogMessage, subjects


class Tail:
    """Turns entries into lines. Made on a loop.

    over: done when the job that is followed has ended, and all its outputs are announced that will be: not those that were released
    before they were made. Or when lines cannot be written, and why. seen: the job has a log.
    """

    def __init__(self, job: str, write: Callable[[Text], None]) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.seen = False
        self._job = job
        self._write = write
        self._narrator = Narrator()
        self._ledger = Ledger()
        self._made: set[int] = set()

    def take(self, entries: list[Entry]) -> None:
        """Write a line for each entry."""
        try:
            for entry in entries:
                self._write(self._line(entry))
                if self._job:
                    self._ledger.fold(entry)
            self._look_for_the_end()
        except CannotWrite as error:  # which is nothing that the feed should end for and say so
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
    if isinstance(message, Ended):
        return "bold green" if message.state == "done" else "bold red"
    if isinstance(message, HostLost) or (isinstance(message, Events) and (message.failed or message.gone or message.unreachable)):
        return "red"
    return ""


def tail_log(job: str, settings: BusSettings, *, follow: bool) -> None:
    """Print the log of one job from its beginning, or of all from now on; until the job is over, or for ever. Raises NoSuchJob."""
    if job:
        check_job_id(job)
    console = Console(highlight=False)
    asyncio.run(_tail(lambda line: console.print(line, soft_wrap=True), job, settings, follow))


async def _tail(write: Callable[[Text], None], job: str, settings: BusSettings, follow: bool) -> None:
    tail = Tail(job, write)
    async with await Bus.connect(settings, "headrace-tail") as bus:
        wanted = subjects.for_job(job) if job else subjects.LOG_SUBJECTS
        feed = await LogFeed.open(bus, wanted, tail.take, from_seq=1 if job or not follow else NEW)
        await until_read(feed)
        _check(tail.over)
        if job and not tail.seen:
            raise NoSuchJob(f"the log has nothing of job {job!r}: it never was, or it has aged out")
        if follow:
            await asyncio.wait([tail.over, feed.ended], return_when=asyncio.FIRST_COMPLETED)
            _check(feed.ended)
            _check(tail.over)


def _check(end: asyncio.Future[None]) -> None:
    """Raises what it ended with, if it has."""
    if end.done():
        end.result()
