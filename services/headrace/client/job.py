"""`Job`: one execution of a graph, as its user holds it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from headrace.client.catalogue import Catalogue, OutputRecord, having, read_catalogue
from headrace.client.failure import exception_for, said, without_modules
from headrace.client.following import Following, Waiter
from headrace.client.latch import Latch
from headrace.client.progress import Bar, Counts, is_wanted
from headrace.client.settings import check_timeout
from headrace.client.sunk import published, read_file, read_published
from headrace.errors import JobTimeout, UnreadableResult
from headrace.graph.naming import dataset_names
from headrace.values import decode, decode_many

if TYPE_CHECKING:
    from headrace.client.cluster import Cluster
    from headrace.client.connection import Connection


CANCEL_TIMEOUT = 30.0
"""Seconds to wait for the cluster to take note of a request to stop a job: a standby controller leads after some 5."""


@dataclass(frozen=True)
class JobStatus:
    """How a job stands.

    state: queued | running | done | failed | cancelled. tasks: how many tasks are pending (for inputs, a host or a runner), started (they
    run, as of a tenth of a second ago), done and failed.
    outputs, available: how many outputs were asked for, and how many of them exist. hosts: names of the cluster's hosts.
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


class Job:
    """A job of a cluster. Made by `Cluster.submit` and `Cluster.job`; may be used from any thread.

    Arrays among the values are read-only views of the memory that they were received in, and go on being valid for as long as they are
    kept: copy one to change it. Values are fetched once and shared by all calls.
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
        """The job's id in the cluster."""
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
            f"job {self.id} cannot be sent to a task: it belongs to a connection of this process. Pass its id, and use "
            "hr.Cluster.connect(...).job(id) there"
        )

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.name!r}: {self._following.ledger.phase}>"

    def status(self) -> JobStatus:
        """How the job stands now. Raises what ended the connection, if it has ended."""
        status: JobStatus = self._connection.call(self._status())
        return status

    def wait(self, timeout: float | None = None, *, check: bool = True, progress: bool | None = None) -> str:
        """Wait until the job is done, and return "done".

        timeout: seconds; None waits for ever. check: with False, a job that failed or was cancelled raises nothing: "failed" or
        "cancelled" is returned. progress: whether to show a bar on standard error; by default where that is a terminal.
        Raises TaskFailed (with the original exception as its cause), JobFailed, JobCancelled, JobTimeout after the timeout (the job goes
        on), and what ended the connection.
        """
        self._await(self._following.over, timeout, progress)
        if check:
            self._raise_failure()
        return self._following.ledger.phase

    def cancel(self, reason: str = "", timeout: float = CANCEL_TIMEOUT) -> bool:
        """Stop the job. Returns once the cluster has taken note of it, and `wait` once it is over; False if it was over already, and so
        nothing changes.

        timeout: seconds. Raises JobTimeout if nobody took note by then, and what ended the connection.
        """
        try:
            asked: bool = self._connection.call(self._following.cancel(reason), timeout)
        except JobTimeout:
            raise
        except TimeoutError:
            raise JobTimeout(
                f"nobody took note within {timeout:g} s that job {self.id} ({self.name!r}) is to be stopped: see that NATS answers and "
                "that a controller runs, and cancel it again, which does no harm. What NATS has of it is acted on once a controller runs"
            ) from None
        return asked

    def release(self) -> None:
        """Tell the hosts that they need not keep the job's outputs any longer. `results` does when it has them all."""
        self._following.release()

    def results(self, timeout: float | None = None, *, keep: bool = False, progress: bool | None = None) -> dict[str, Any]:
        """Wait for the job and return the values of all its outputs, by name; those of a task with several are "name[0]", "name[1]", ...

        keep: leave the outputs on the hosts, for other clients, instead of telling the hosts that they may drop them (`release`). Other
        arguments as of `wait`. Raises TaskFailed (with the original exception as its cause), JobCancelled, JobTimeout, OutputsLost if a
        host was lost after the job was done, UnreadableResult for a value that cannot be unpickled here, and CorruptOutput for a file in a
        sink that is not the one that was written. What a user's own encoder wrote comes as an `hr.SinkFile`, which says where it is.
        """
        values = self.values(None, timeout, progress, keep=keep)
        return dict(zip(self._outputs, values, strict=True))

    def result(self, name: str, timeout: float | None = None, *, progress: bool | None = None) -> Any:
        """The value of one output, as soon as it exists. Arguments and errors as of `results`; KeyError if no output has that name."""
        ledger = self._following.ledger
        dataset = self._output(name)
        end = _deadline(timeout)
        if dataset not in self._values and not self.done:
            waiter = Waiter(dataset)
            self._connection.thread.soon(self._following.add, waiter)
            self._await(waiter.event, timeout, progress)
        if not ledger.readable(dataset):
            self._raise_failure()
        self._load([dataset], end)
        return self._values[dataset]

    def metadata(self, name: str) -> dict[str, Any]:
        """The metadata of one output: what was given with its task, updated by what was given for it, and by what it was yielded with.

        Does not wait. Raises KeyError if no output has that name.
        """
        return self._following.ledger.metadata(self._output(name))

    def read_file(self, record: OutputRecord) -> memoryview:
        """The bytes of an output's file as its sink has them, checked, for one of `outputs` that has a location. Errors as of `result`."""
        sink = self._following.ledger.sink_of(record.dataset)
        return read_file(record, sink.options if sink is not None else {})

    def outputs(self, where: Mapping[str, Any] | None = None, /, **metadata: Any) -> list[OutputRecord]:
        """What was announced of the job's outputs so far: of those whose metadata has these values, or one of these where a list is given.

            job.outputs(param="2t", step=[0, 6])

        Of a job that is done: all of them. Does not wait for a job that is not. where: the same, for keys that are no Python names. Records
        outlive the log, and values: `cluster.outputs(job=...)` finds those of a job that the cluster has forgotten.
        """
        matches = having(where, metadata)
        end = self._following.ledger.end
        expected = {self.id: self._following.ledger.n_outputs} if end is not None and end.state == "done" else {}
        catalogue: Catalogue = self._connection.call(read_catalogue(self._connection.bus, self.id, expected))
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
            raise KeyError(f"job {self.id} has no output {name!r}")
        return self._outputs[name]

    def values(
        self, datasets: list[int] | None, timeout: float | None = None, progress: bool | None = None, *, keep: bool = False
    ) -> list[Any]:
        """The values of outputs by their ids in the frozen graph, all if None is given. As `results` otherwise."""
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
            raise JobTimeout(f"job {self.id} ({self.name!r}) was not over after {timeout:g} s; it goes on: wait again, or cancel it")
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
        """Decode the values of these outputs that have not been yet; fetch them first, until `end`, if they did not come with the log."""
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
        """All at once; and one by one if that fails, so that what can be read is kept and what cannot is named."""
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
        except BaseException as error:  # whatever a class of the user's raises, SystemExit too, or a module that is not here
            name = self._following.ledger.dataset_name(dataset)
            raise UnreadableResult(
                f"output {name!r} of job {self.id} cannot be unpickled in this process: {said(error)}. "
                "Import or install here what its classes come from; the other outputs can be had with job.result(name)"
            ) from error

    def _fetch(self, datasets: list[int], end: float) -> dict[int, memoryview]:
        try:
            found: dict[int, memoryview] = self._connection.call(self._following.fetch(datasets), end - time.monotonic())
        except TimeoutError:
            raise JobTimeout(
                f"the values of {len(datasets)} outputs of job {self.id} were not fetched in time: ask for them again"
            ) from None
        return found

    def _counts(self) -> Counts:
        counts = self._following.counts()
        return Counts(counts["done"], counts["started"], self._following.ledger.n_tasks)

    async def _status(self) -> JobStatus:
        ledger = self._following.ledger
        end = ledger.end
        error = "" if end is None or end.state == "done" else (end.error.error if end.error is not None else end.reason)
        return JobStatus(
            id=self.id,
            name=ledger.name,
            state=ledger.phase,
            n_tasks=ledger.n_tasks,
            tasks=self._following.counts(),
            outputs=ledger.n_outputs,
            available=ledger.n_outputs - ledger.n_missing,
            hosts=tuple(self._connection.hosts),
            error=without_modules(error),
        )


def _deadline(timeout: float | None) -> float:
    check_timeout(timeout)
    return time.monotonic() + (timeout if timeout is not None else threading.TIMEOUT_MAX)
