"""Generator tasks: each dataset is stored before the rest of the generator runs, and a generator without room is suspended at its yield."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from headrace.runner.channel import Channel
from headrace.runner.delivery import Delivery
from headrace.runner.functions import JobFunction
from headrace.runner.outbox import Outbox
from headrace.runner.outputs import miscounted
from headrace.runner.status import StatusPage
from headrace.runner.storage import Storage
from headrace.runner.waiting import Suspended

_NOTHING = object()
"""Returned in place of a value when a generator has ended."""


class Generators:
    """Runs generators until they end or wait for room. Methods raise TaskFailure, JobClosed, or what the task raises."""

    def __init__(self, outbox: Outbox, channel: Channel, delivery: Delivery, storage: Storage, status: StatusPage, slot: int) -> None:
        self._outbox = outbox
        self._channel = channel
        self._delivery = delivery
        self._storage = storage
        self._status = status
        self._slot = slot

    def run(self, generator: Suspended) -> None:
        """Begin a generator, or go on with it. Its random numbers go on where they were."""
        segment = generator.segment
        randomness = segment.job.function(segment.task).randomness
        if randomness is None:
            self._run(generator)
            return
        randomness.resume(generator)
        self._run(generator)
        randomness.suspend(generator)

    def finish(self, generator: Suspended) -> None:
        """Run the rest of a generator that has yielded all its datasets, and report the last one. Raises TaskFailure if it yields more."""
        if next(generator.iterator, _NOTHING) is not _NOTHING:
            raise miscounted(len(generator.outputs), "yielded more")
        self._delivery.release()

    def _run(self, generator: Suspended) -> None:
        segment = generator.segment
        function = segment.job.function(segment.task)
        while self._store_next(generator, function):
            self._channel.flush_before(function.expected)

    def _store_next(self, generator: Suspended, function: JobFunction) -> bool:
        """Run a generator to its next yield and store what it yields. Returns whether it can go on."""
        value = self._next(generator, function)
        outputs, is_last = generator.outputs, generator.has_yielded_all
        if value is _NOTHING:
            if not is_last:
                raise miscounted(len(outputs), f"yielded only {generator.index}")
            return False
        if is_last:
            self._delivery.withhold()
        stored = self._storage.put(generator.segment, outputs[generator.index - 1], value, generator)
        value = None
        stored &= self._storage.hand_over(generator.segment, generator)
        if is_last:
            self._end(generator, stored)
        return stored and not is_last and not generator.segment.job.closed

    def _end(self, generator: Suspended, stored: bool) -> None:
        """Finish a generator that has yielded its last dataset, unless that waits for room. A file is reported in any case."""
        if stored:
            self.finish(generator)
        else:
            self._delivery.discard()

    def _next(self, generator: Suspended, function: JobFunction) -> Any:
        """Return what a generator yields next, or _NOTHING once it has ended."""
        self._storage.own()
        job = generator.segment.job
        self._status.set(self._slot, job.number, generator.segment.task)
        began = perf_counter()
        self._channel.in_task = True
        try:
            value = next(generator.iterator)
        except StopIteration:
            return _NOTHING
        finally:
            self._channel.in_task = False
        self._outbox.now = perf_counter()
        job.took(function, self._outbox.now - began)
        generator.index += 1
        return value
