"""Carries out what is decided for sinks, in threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from headrace.logs import get_log
from headrace.publisher.commits import Action, Commit, Remove
from headrace.publisher.settings import Settings
from headrace.sinks import files
from headrace.text import shown_place

log = get_log(__name__)

OnDone = Callable[[str], None]


class Committer:
    """Commits and removes files, several at a time. What a file system refuses is tried again; what is not there is not."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(settings.commits, "sink")
        self._loop = asyncio.get_running_loop()

    def start(self, action: Action, done: OnDone) -> None:
        """Carry it out in its turn. `done` is called on this loop with the reason why that could not be; empty if it was."""
        self._pool.submit(self._run, action, done)

    def close(self) -> None:
        """What has not begun is left to whoever leads next."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, action: Action, done: OnDone) -> None:
        error = self._try(action)
        try:
            self._loop.call_soon_threadsafe(done, error)
        except RuntimeError:
            return  # the loop is closed, and nobody asks any more

    def _try(self, action: Action) -> str:
        for left in reversed(range(self._settings.commit_tries)):
            try:
                self.carry_out(action)
                return ""
            except files.NotThere as error:
                return str(error)
            except Exception as error:  # whatever a file system raises
                text = f"{type(error).__name__}: {error}"
                if left:
                    log.warning("an action on a sink is tried again", action=_name(action), error=text)
                    time.sleep(self._settings.commit_delay)
        return text

    def carry_out(self, action: Action) -> None:
        """Do it now. Raises NotThere, and what the file system raises."""
        options = action.sink.options
        if isinstance(action, Commit):
            written = action.written
            files.commit(written.part, written.location, options, files.Receipt(written.bytes, written.checksum))
        elif isinstance(action, Remove):
            files.remove(action.part, options)
        else:
            files.sweep(action.folder, action.job, options)


def _name(action: Action) -> str:
    if isinstance(action, Commit):
        return f"the commit of {shown_place(action.written.location)}"
    return f"the removal of {action.part}" if isinstance(action, Remove) else f"the removal of parts in {action.folder}"
