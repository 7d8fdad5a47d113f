"""The file of the flight recorder, see `agent/recording.py`.

It is written until it is full. The file of the machine before is kept: a host that fails and begins anew leaves both.
"""

from __future__ import annotations

import errno
import os
from typing import BinaryIO

from headrace.logs import get_log
from headrace.worker.agent.recording import Item, RecordedAgent, packed
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings
from headrace_shm import Store

log = get_log(__name__)


class RecordFile:
    """Writes items to a file, up to `limit` bytes. If the file cannot be written, that is logged, and recording ends."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file: BinaryIO | None = file
        self._left = limit

    @classmethod
    def open(cls, folder: str, host: str, limit: int) -> RecordFile | None:
        """Begin a new file for a host, and keep the last one under another name. Returns None if the folder cannot be written."""
        path = os.path.join(folder, f"worker-{host}.record")
        try:
            if os.path.exists(path):
                os.replace(path, os.path.join(folder, f"worker-{host}.before.record"))
            return cls(open(path, "wb", buffering=0), limit)
        except OSError as error:
            log.error("nothing is recorded: set HEADRACE_RECORD to a folder that exists and is writable", path=path, error=error)
            return None

    def write(self, item: Item) -> None:
        """Write an item, if it still fits."""
        if self._file is None:
            return
        try:
            data = packed(item)
            self._left -= len(data)
            if self._left < 0:
                self._end("the record is full: nothing more of this host is recorded until it begins anew")
            elif self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except Exception as error:  # the host goes on
            self._end("the record could not be written: nothing more is recorded", error=error)

    def _end(self, event: str, **about: object) -> None:
        if self._file is not None:
            log.warning(event, path=getattr(self._file, "name", ""), **about)
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def make_agent(settings: Settings, epoch: int, store: Store[int], spills: bool, now: float) -> Agent:
    """Make the agent of a service: one that is recorded, if HEADRACE_RECORD says so."""
    record = RecordFile.open(settings.record_dir, settings.host, settings.record_bytes) if settings.record_dir else None
    if record is None:
        return Agent(settings, epoch, store, spills, now, guarded=True)
    return RecordedAgent(record, settings, epoch, store, spills, now)
