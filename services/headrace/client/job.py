"""`Job`: one execution of a graph."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from headrace.bus.storing import NOT_STORED
from headrace.client.catalogue import Catalogue, OutputRecord, having, read_catalogue
from headrace.client.failure import exception_for, said, without_modules
from headrace.client.following import Following
from headrace.client.latch import Latch, Waiter
from headrace.client.progress import Bar, TaskCounts, is_wanted
from headrace.client.settings import SETTINGS, check_timeout
from headrace.client.sunk import published, read_file, read_published
from headrace.errors import HeadraceError, JobTimeout, NatsStoresNothing, NatsUnreachable, UnreadableResult
from headrace.graph.naming import dataset_names
from headrace.values import decode, decode_many

if TYPE_CHECKING:
    from headrace.client.cluster import Cluster
    from headrace.client.connection import Connection


@dataclass(frozen=True)
class JobStatus:
    """The state of a job.

    state: queued | running | done | failed | cancelled. tasks: how many tasks are pending (they wait for inputs, a host or a runner),
    started (they were running a tenth of a second ago), done and failed.
    outputs, available: how many outputs the job has, and how many of them exist. hosts: names of the cluster's hosts.
    error: why it failed or was cancelled, in one line.
    """

    id: str
    name: str
    state: str
    n_tasks: int
    tasks: dict[str, int]
    outputs: int
    available: int
    hosts: tuple[str, ...]
    error: str = ""

    @property
    def waits(self) -> str:
        """Why no task of the job can run now, in one line; empty if one can, or if the job is over."""
        waiting = not self.hosts and self.state in ("queued", "running") and self.tasks["done"] < self.n_tasks
        return "no host is at work: start a worker (headrace worker), or see in its log why it does not join" if waiting else ""


class Job:
    """A job of a cluster. Made by `Cluster.submit` and `Cluster.job`; may be used from any thread.

    Arrays in the values are read-only views of the memory that received them, and stay valid as long as you keep them: copy one to change
    it. Each value is fetched once, and all calls return the same object.
    """

    def __init__(self, cluster: Cluster, connection: Connection, following: Following, progress: bool | None) -> None:
        self._cluster = cluster  # which would close if nobody held it
        self._connection = connection
        self._following = following
        self._progress = progress
        self._values: dict[int, Any] = {}
        self._names: dict[str, int] | None = None
        self._lock = threading.Lock()

    @property
    def id(self) -> str:
        """The job's id. Any client that knows it can find the job."""
        return self._following.job

    @property
    def name(self) -> str:
        """The name of its graph."""
        return self._following.ledger.name

    @property
    def done(self) -> bool:
        """Whether the job is over: done, failed or cancelled."""
        return self._following.over.is_set()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"job {self._following.job} cannot be sent to a task: it belongs to a connection of this process. Pass its id, and call "
            "hr.Cluster.connect(...).job(id) in the task"
        )

    def __repr__(self) -> str:
        return f"<Job {self._following.job} {self.name!r}: {self._following.ledger.phase}>"

    def wait_stored(self) -> None:
        """Wait until the log has the job.

        Raises the reason if it never will. Gives the job up with NatsStoresNothing if NATS stores nothing, and with NatsUnreachable after
        30 s (`Settings.submit_seconds`).
        """
        following = self._following
        if not self._is_known(following):
            self._connection.call(following.withdraw(self._unconfirmed()))
        if following.error is not None and not following.stored:
            raise following.error

    def _unconfirmed(self) -> HeadraceError:
        following, seconds = self._following, self._connection.bus.reading.unstored_seconds
        if seconds:
            return NatsStoresNothing(f"the log did not get job {following.job} ({self.name!r:.80}): {NOT_STORED.format(seconds=seconds)}")
        return NatsUnreachable(
            f"NATS did not confirm within {SETTINGS.submit_seconds:g} s that the log has job {following.job} ({self.name!r:.80}), which "
            f"was given up. Submit the graph again, unless cluster.job({following.job!r}) finds it"
        )

    def _is_known(self, following: Following) -> bool:
        """Wait until it is known whether the log has the job. Returns False if NATS stores nothing, or does not answer in time."""
        reading, deadline = self._connection.bus.reading, time.monotonic() + SETTINGS.submit_seconds
        while not following.submitted.wait(min(SETTINGS.submit_look_seconds, deadline - time.monotonic())):
            if reading.unstored_seconds or time.monotonic() >= deadline:
                return following.submitted.is_set()
        return True

    def status(self) -> JobStatus:
        """Return the job's current state. Raises the error that ended the connection, if it has ended."""
        status: JobStatus = self._connection.call(self._status())
        return status

    def wait(self, timeout: float | None = None, *, check: bool = True, progress: bool | None = None) -> str:
        """Wait until the job is done, and return "done".

        timeout: seconds; None waits without limit. check: if False, return "failed" or "cancelled" instead of raising an error for such a
        job. progress: whether to show a bar on standard error; by default if that is a terminal.
        Raises TaskFailed (with the original exception as its cause), JobFailed, JobCancelled, JobTimeout after the timeout (the job
        continues), and the error that ended the connection.
        """
        self._await(self._following.over, timeout, progress)
        if check:
            self._raise_failure()
        return self._following.ledger.phase

    def cancel(self, reason: str = "", timeout: float = SETTINGS.cancel_seconds) -> bool:
        """Stop the job.

        Returns True once the cluster has confirmed the request; `wait` returns once the job is over. Returns False if the job had already
        ended.

        timeout: seconds. Raises JobTimeout if the cluster did not confirm in time, and the error that ended the connection.
        """
        try:
            asked: bool = self._connection.call(self._following.cancel(reason), timeout)
        except JobTimeout:
            raise
        except TimeoutError:
            raise JobTimeout(
                f"the cluster did not confirm within {timeout:g} s that job {self._following.job} ({self.name!r}) was cancelled. "
                "Check that NATS answers and a controller runs, then cancel the job again. If NATS has stored the request, the next "
                "controller cancels it"
            ) from None
        return asked

    def release(self) -> None:
        """Tell the hosts that they may drop the job's outputs. `results` does this once it has fetched them all."""
        self._following.release()

    def results(self, timeout: float | None = None, *, keep: bool = False, progress: bool | None = None) -> dict[str, Any]:
        """Wait for the job, and return the values of all its outputs by name. A task with several outputs has "name[0]", "name[1]", ...

        keep: leave the outputs on the hosts for other clients, instead of telling the hosts that they may drop them (`release`). Other
        arguments: as for `wait`. A value that a user's own encoder wrote is returned as an `hr.SinkFile`, which says where it is.

        Raises TaskFailed (with the original exception as its cause), JobCancelled, JobTimeout, OutputsLost for outputs that were released,
        or that were lost after the job was done and cannot be computed again, UnreadableResult for a value that cannot be unpickled here,
        and CorruptOutput for a file that was changed after it was written.
        """
        values = self.values(None, timeout, progress, keep=keep)
        return dict(zip(self._outputs, values, strict=True))

    def result(self, name: str, timeout: float | None = None, *, progress: bool | None = None) -> Any:
        """Return the value of one output, as soon as it exists.

        Arguments and errors as for `results`; KeyError if no output has that name.
        """
        ledger = self._following.ledger
        dataset = self._output(name)
        end = _deadline(timeout)
        if dataset not in self._values and not self.done:
            waiter = Waiter(dataset)
            self._connection.thread.soon(self._following.add_waiter, waiter)
            self._await(waiter.event, timeout, progress)
        if not ledger.readable(dataset):
            self._raise_failure()
        self._load([dataset], end)
        return self._values[dataset]

    def metadata(self, name: str) -> dict[str, Any]:
        """Return the metadata of one output: the task's, updated by the output's own, and by what it was yielded with.

        Does not wait. Raises KeyError if no output has that name.
        """
        return self._following.ledger.metadata(self._output(name))

    def read_file(self, record: OutputRecord) -> memoryview:
        """Return the bytes of an output's file, with its checksum verified. record: one of `outputs`, with a location.

        Errors as for `result`.
        """
        sink = self._following.ledger.sink_of(record.dataset)
        return read_file(record, sink.options if sink is not None else {})

    def outputs(self, where: Mapping[str, Any] | None = None, /, **metadata: Any) -> list[OutputRecord]:
        """Find outputs of the job that were announced so far, by their metadata: each key must have the given value, or one of a list.

            job.outputs(param="2t", step=[0, 6])

        This does not wait for the job; but if the job is done, it waits for the announcements of all its outputs. where: the same as a
        dict, for keys that are not Python names. Records outlive the log and the values: `cluster.outputs(job=...)` finds those of a job
        that has aged out.
        """
        matches = having(where, metadata)
        end = self._following.ledger.end
        expected = {self._following.job: self._following.ledger.n_outputs} if end is not None and end.state == "done" else {}
        catalogue: Catalogue = self._connection.call(read_catalogue(self._connection.bus, self._following.job, expected))
        return catalogue.find(matches)

    @property
    def _outputs(self) -> dict[str, int]:
        """The job's outputs by name, in the graph's order."""
        if self._names is None:
            ledger = self._following.ledger
            spec = ledger.spec
            self._names = dict(zip(dataset_names(spec, spec.outputs, ledger.topology), spec.outputs, strict=True))
        return self._names

    def _output(self, name: str) -> int:
        if name not in self._outputs:
            raise KeyError(f"job {self._following.job} has no output {name!r}")
        return self._outputs[name]

    def values(
        self, datasets: list[int] | None, timeout: float | None = None, progress: bool | None = None, *, keep: bool = False
    ) -> list[Any]:
        """Return the values of outputs by their ids in the frozen graph; None means all. Otherwise like `results`."""
        end = _deadline(timeout)
        self._await(self._following.over, timeout, progress)
        self._raise_failure()
        outputs = self._following.ledger.spec.outputs
        datasets = outputs if datasets is None else datasets
        self._load(datasets, end)
        if len(self._values) == len(outputs) and not keep:
            self.release()
        return [self._values[dataset] for dataset in datasets]

    def _await(self, event: Latch, timeout: float | None, progress: bool | None) -> None:
        check_timeout(timeout)
        if event.is_set():
            reached = True
        elif is_wanted(self._progress if progress is None else progress):
            reached = self._await_with_bar(event, timeout)
        else:
            reached = event.wait(timeout)
        if not reached:
            raise JobTimeout(
                f"job {self._following.job} ({self.name!r}) did not end within {timeout:g} s and continues: wait again, or cancel it"
            )
        if self._following.error is not None:
            raise self._following.error

    def _await_with_bar(self, event: Latch, timeout: float | None) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout
        with Bar(self.name, self._counts) as bar:
            while True:
                left = bar.step() if deadline is None else min(bar.step(), deadline - time.monotonic())
                if event.wait(max(0.0, left)):
                    return True
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                bar.update()

    def _raise_failure(self) -> None:
        end = self._following.ledger.end
        if end is not None and (error := exception_for(end)) is not None:
            raise error

    def _load(self, datasets: Iterable[int], end: float) -> None:
        """Decode the values of those outputs that are not decoded yet. Fetch them first, until `end`, if they did not come with the log."""
        with self._lock:
            missing = [dataset for dataset in datasets if dataset not in self._values]
            if missing:
                inline = self._following.ledger.values
                if all(map(inline.__contains__, missing)):
                    self._decode_all(missing, inline)
                else:
                    self._load_missing(missing, end)

    def _load_missing(self, missing: list[int], end: float) -> None:
        in_sinks = published(self._following.ledger, missing)
        held = [dataset for dataset in missing if dataset not in in_sinks]
        if held:
            self._decode_all(held, self._fetch(held, end))
        if in_sinks:
            self._values.update(read_published(self._following.ledger, in_sinks, end))

    def _decode_all(self, datasets: list[int], encoded: Mapping[int, memoryview | bytes]) -> None:
        """Decode all values at once.

        If that fails, decode them one by one, so that readable values are kept, and the error names the others.
        """
        try:
            self._values.update(zip(datasets, decode_many(map(encoded.__getitem__, datasets)), strict=True))
        except KeyboardInterrupt:
            raise
        except BaseException:
            self._values.update((dataset, self._decode(dataset, encoded[dataset])) for dataset in datasets)

    def _decode(self, dataset: int, encoded: memoryview | bytes) -> Any:
        try:
            return decode(encoded)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a user's class may raise anything, also SystemExit; or a module is missing
            name = self._following.ledger.dataset_name(dataset)
            raise UnreadableResult(
                f"output {name!r} of job {self._following.job} cannot be unpickled in this process: {said(error)}. "
                "Install the modules of its classes here; get the other outputs with job.result(name)"
            ) from error

    def _fetch(self, datasets: list[int], end: float) -> dict[int, memoryview]:
        try:
            found: dict[int, memoryview] = self._connection.call(self._following.fetch(datasets), end - time.monotonic())
        except TimeoutError:
            raise JobTimeout(
                f"the values of {len(datasets)} outputs of job {self._following.job} were not fetched in time: ask for them again"
            ) from None
        return found

    def _counts(self) -> TaskCounts:
        counts = self._following.task_counts()
        return TaskCounts(counts["done"], counts["started"], self._following.ledger.n_tasks)

    async def _status(self) -> JobStatus:
        ledger = self._following.ledger
        end = ledger.end
        error = "" if end is None or end.state == "done" else (end.error.error if end.error is not None else end.reason)
        return JobStatus(
            id=self._following.job,
            name=ledger.name,
            state=ledger.phase,
            n_tasks=ledger.n_tasks,
            tasks=self._following.task_counts(),
            outputs=ledger.n_outputs,
            available=ledger.n_outputs - ledger.n_missing,
            hosts=tuple(self._connection.hosts),
            error=without_modules(error),
        )


def _deadline(timeout: float | None) -> float:
    check_timeout(timeout)
    return time.monotonic() + (timeout if timeout is not None else threading.TIMEOUT_MAX)
