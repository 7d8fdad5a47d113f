"""The facts of one job that wait to be published, in columns."""

from __future__ import annotations

from typing import Any

from headrace.runner import protocol
from headrace_schemas import Events, FunctionProfile, TaskError, Written
from headrace_schemas.streams import MAX_MESSAGE_BYTES

VALUE_FACTOR = 1.4
"""About how many bytes of JSON a byte of a value takes (base64)."""
ID_BYTES = 12
"""About how many bytes of JSON an integer of a column takes."""
ENOUGH_BYTES = 4096
"""Bytes of facts from which a message of their own pays: those of some hundred tasks."""
WRITTEN_BYTES = 400
"""Bytes of JSON of an output that was written to a sink, without its names."""


class JobReport:
    """Collects facts, of which `take` makes messages. news: the jobs with facts to publish. The report adds its job."""

    def __init__(self, job: str, host: str, epoch: int, news: dict[str, None]) -> None:
        self._job = job
        self._news = news
        self._identity = {"job": job, "host": host, "epoch": epoch}
        self._profile: dict[int, FunctionProfile] = {}
        self._full: list[Events] = []
        self._events = Events(**self._identity)  # type: ignore[arg-type]
        self._bytes = 0
        self.urgent = False
        """Whether a client or a service waits for these facts."""
        self.at_once = False
        """Whether the log must have these facts at once."""
        self._soon = False

    @property
    def soon(self) -> bool:
        """Whether the facts are many, or a service will act on them although none waits for them."""
        return self._soon or self._bytes > ENOUGH_BYTES or bool(self._full)

    def frees_memory(self) -> None:
        """Note that this host has used a large dataset for the last time, as far as it knows."""
        self._soon = True

    def _next_message(self) -> None:
        if self._bytes:
            self._full.append(self._events)
            self._events = Events(**self._identity)  # type: ignore[arg-type]
            self._bytes = 0

    def _add(self, nbytes: float) -> None:
        """Count the bytes of the facts just added. Begin another message if this one is full."""
        self._bytes += int(nbytes)
        if self._bytes:
            self._news[self._job] = None
        if self._bytes > MAX_MESSAGE_BYTES:
            self._next_message()

    def chains_done(self, chains: list[int]) -> None:
        """Add chains of which all tasks succeeded."""
        self._events.chains += chains
        self._add(ID_BYTES * len(chains))

    def task_done(self, task: int, attempt: int) -> None:
        """Add a task that succeeded, of a chain that goes on."""
        events = self._events
        if attempt and not events.done_attempts:
            events.done_attempts = [0] * len(events.done)
        events.done.append(task)
        if attempt or events.done_attempts:
            events.done_attempts.append(attempt)
        self._add(ID_BYTES)

    def started(self, task: int, at_once: bool = False) -> None:
        """Add a task that has started since the last message.

        at_once: whether the log should have this before the task can bring its host down.
        """
        self.at_once = self.at_once or at_once
        self._events.started.append(task)
        self._add(ID_BYTES)

    def produced(self, dataset: int, attempt: int, nbytes: int, asked: bool) -> None:
        """Add a large dataset that exists on this host. asked: whether it is an output."""
        self.urgent = self.urgent or asked
        self._produced([dataset], [attempt] if attempt else [], [nbytes])
        self._add(2 * ID_BYTES)

    def values(self, datasets: list[int], attempts: list[int], values: list[bytes], is_held: list[bool]) -> None:
        """Add small datasets that exist on this host. Those that are outputs held for the client go with their values.

        attempts: empty if all are 0.
        """
        asked = [(dataset, value) for dataset, value in zip(datasets, values, strict=True) if is_held[dataset]]
        nbytes = 2 * ID_BYTES * len(datasets) + sum([ID_BYTES + int(VALUE_FACTOR * len(value)) for _, value in asked])
        if nbytes > MAX_MESSAGE_BYTES and len(datasets) > 1:
            half = len(datasets) // 2
            self.values(datasets[:half], attempts[:half], values[:half], is_held)
            self.values(datasets[half:], attempts[half:], values[half:], is_held)
            return
        if self._bytes + nbytes > MAX_MESSAGE_BYTES:
            self._next_message()
        self._produced(datasets, attempts, list(map(len, values)))
        if asked:
            self.urgent = True
            self._events.value_ids += [dataset for dataset, _ in asked]
            self._events.values += [value for _, value in asked]
        self._add(nbytes)

    def _produced(self, datasets: list[int], attempts: list[int], sizes: list[int]) -> None:
        events = self._events
        if attempts and not events.produced_attempts:
            events.produced_attempts = [0] * len(events.produced)
        if attempts or events.produced_attempts:
            events.produced_attempts += attempts or [0] * len(datasets)
        events.produced += datasets
        events.sizes += sizes

    def written(self, written: Written) -> None:
        """Add an output that was written to its sink, and is to be committed."""
        self.urgent = True
        self._events.written.append(written)
        self._add(len(written.part) + len(written.location) + WRITTEN_BYTES)

    def metadata(self, dataset: int, metadata: dict[str, Any]) -> None:
        """Add the metadata with which a dataset was yielded."""
        self._events.metadata_ids.append(dataset)
        self._events.metadata.append(metadata)
        self._add(ID_BYTES + len(str(metadata)))

    def array(self, dataset: int, dtype: str, shape: list[int]) -> None:
        """Add the type and shape of an output that is one array."""
        self._events.typed.append(dataset)
        self._events.dtypes.append(dtype)
        self._events.shapes.append(shape)
        self._add(len(dtype) + ID_BYTES * (len(shape) + 1))

    def copied(self, dataset: int) -> None:
        """Add a dataset of another host of which this host has a copy."""
        self._soon = True
        self._events.copied.append(dataset)
        self._add(ID_BYTES)

    def failed(self, error: TaskError) -> None:
        """Add an attempt that failed."""
        self.urgent = True
        self._events.failed.append(error)
        self._add(len(error.traceback) + len(error.error) + sum(map(len, error.inputs)) + VALUE_FACTOR * len(error.pickled) + 512)

    def revoked(self, chain: int) -> None:
        """Add a chain that is given back: this host will not run its remaining tasks."""
        self.urgent = True
        self._events.revoked.append(chain)
        self._add(ID_BYTES)

    def kept(self, dataset: int) -> None:
        """Add a dataset that a purge named but that this host needs."""
        self.urgent = True
        self._events.kept.append(dataset)
        self._add(ID_BYTES)

    def gone(self, dataset: int) -> None:
        """Add a dataset that the host which should have it does not have."""
        self.urgent = True
        self._events.gone.append(dataset)
        self._add(ID_BYTES)

    def unreachable(self, host: str) -> None:
        """Add a host to which no link can be opened."""
        self.urgent = True
        if host not in self._events.unreachable:
            self._events.unreachable.append(host)
            self._add(len(host) + ID_BYTES)

    def profile(self, frame: protocol.Results) -> None:
        """Add the durations that a runner measured."""
        columns = zip(frame.functions, frame.function_counts, frame.function_seconds, frame.function_longest, strict=True)
        for function, count, total, longest in columns:
            entry = self._profile.get(function)
            if entry is None:
                self._profile[function] = FunctionProfile(function=function, count=count, total=total, longest=longest)
            else:
                entry.count += count
                entry.total += total
                entry.longest = max(entry.longest, longest)

    def take(self, memory_used: int) -> list[Events]:
        """Remove and return the messages to publish; an empty list if there are no facts. memory_used: bytes of the store in use."""
        self._next_message()
        messages, self._full, self.urgent, self.at_once, self._soon = self._full, [], False, False, False
        if messages:
            messages[-1].profile = list(self._profile.values())
            messages[-1].memory_used = memory_used
            self._profile = {}
        return messages
