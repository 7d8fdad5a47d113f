"""`Cluster`: where a user's graphs run."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

import msgspec

from headrace.client.interrupts import interrupts_held
from headrace.client.local import LocalServices
from headrace.client.nested import datasets_in, with_values
from headrace.client.settings import START_TIMEOUT, check_timeout
from headrace.errors import ClusterFailed, GraphError, HeadraceError, SettingsError
from headrace.graph.builder import Graph
from headrace.graph.node import Dataset, Node
from headrace.graph.resources import check_resources
from headrace.sizes import MIN_CAPACITY

if TYPE_CHECKING:  # imported at run time while the services of a local cluster start, and not before
    from headrace.bus import BusSettings
    from headrace.client.catalogue import Catalogue, OutputRecord
    from headrace.client.connection import Connection
    from headrace.client.job import Job
    from headrace.client.standing import ClusterStatus
    from headrace.sinks.sink import Sink
    from headrace_schemas import GraphSpec, JobEntry, SinkSpec


class Cluster:
    """A cluster that graphs are submitted to. Made by `Cluster.local` or `Cluster.connect`; use it in a `with` block, or `close` it.

    It may be used from any thread, but not in a process that was forked from the one that made it. Closing a local cluster ends every
    process of it and removes every file, and so does any end of the program, a kill included. Closing a connected one leaves the
    cluster as it is, with the jobs that run on it.
    """

    def __init__(self, connection: Connection, settings: BusSettings, local: LocalServices | None, progress: bool | None) -> None:
        self._connection = connection
        self._settings = settings
        self._local = local
        self._progress = progress
        self._finalizer = weakref.finalize(self, _close_at_last, os.getpid(), connection, local)

    # --- making one -----------------------------------------------------------------------------------------------------

    @classmethod
    def local(
        cls,
        hosts: int = 2,
        runners: int = 1,
        capacity: int | None = None,
        *,
        resources: Mapping[str, float] | None = None,
        progress: bool | None = None,
        log_file: str | os.PathLike[str] | None = None,
        timeout: float = START_TIMEOUT,
    ) -> Cluster:
        """A cluster of processes of its own on this machine, with a NATS server of its own, on free ports of the loopback interface.

        What can be imported here, can be in tasks; the module path and the working directory are those of this process.

        hosts: worker services; they share no memory with one another, as if they were machines. runners: processes that execute tasks,
        per host. capacity: bytes of each host's store, at least 1 MiB; by default half of the memory, shared out. resources: what each
        host has for tasks that need it (`hr.task(f, resources=...)`), e.g. {"gpu": 1}. progress: show a bar while waiting for long; by
        default where standard error is a terminal. log_file: where the services log (from HEADRACE_LOG_LEVEL up, by default warnings)
        and what tasks print goes; by default a file that ends with the cluster. timeout: seconds for the start.

        Raises SettingsError for resources that are none, ClusterFailed with the end of the services' log, if they do not start.
        """
        _check_sizes(hosts, runners, capacity)
        check_timeout(timeout)
        services = LocalServices(hosts, runners, capacity or 0, log_file, _checked(resources))
        try:
            return cls._join(services, hosts, progress, timeout)
        except BaseException:
            with interrupts_held():
                services.stop()
            raise

    @classmethod
    def _join(cls, services: LocalServices, hosts: int, progress: bool | None, timeout: float) -> Cluster:
        """Connect to a local cluster that still starts, and wait for its hosts."""
        from headrace.bus import BusSettings
        from headrace.client import job  # noqa: F401 - with all that a first job needs
        from headrace.client.connection import Connection

        started = services.wait_started(timeout)
        settings = BusSettings(url=started.url, token=started.token)
        connection = Connection(settings, of_its_own=True)
        try:
            connection.thread.soon(_watch_services, connection, services)
            connection.call(connection.wait_hosts(hosts), timeout)
        except TimeoutError:
            connection.close(flush=False)
            raise services.failure_to_start(timeout) from None
        except BaseException:
            connection.close(flush=False)
            raise
        return cls(connection, settings, services, progress)

    @classmethod
    def connect(cls, url: str = "", *, token: str = "", via: str = "", progress: bool | None = None, **login: str) -> Cluster:
        """A cluster that runs already.

        url: its NATS server, or several separated by commas. token, or user=, password=, creds= and others of `BusSettings`: how to log in.
        What is not given is taken from HEADRACE_URL, HEADRACE_TOKEN and so on. via: how values of outputs come here that the hosts hold (or
        HEADRACE_VIA): "hosts" connects to the hosts, "publisher" has the publisher bring them, over NATS; by default the first, and the
        second where a host cannot be reached. progress: as of `local`.

        Raises NatsUnreachable (for a bad url too), WrongCredentials, NoJetStream, ClusterFailed where there is a server but no cluster, and
        SettingsError, a ValueError, for another `via` and for variables that cannot be used.
        """
        from headrace.bus import BusSettings
        from headrace.client.connection import Connection

        given = {name: value for name, value in {"url": url, "token": token, **login}.items() if value}
        settings = msgspec.structs.replace(BusSettings.from_env(), **given)
        via = via or os.environ.get("HEADRACE_VIA", "")
        return cls(Connection(settings, via=via), settings, None, progress)

    # --- running graphs ---------------------------------------------------------------------------------------------------

    def submit(self, graph: Graph, *, sink: Sink | str | os.PathLike[str] | None = None) -> Job:
        """Start to run a graph. Returns at once; the graph may be changed and submitted again afterwards.

        sink: where the outputs are written that have no sink of their own: a folder or a pattern, as of `hr.Sink`, which may be given too.
        Without, they are held on the hosts until the client has them. `Job.results` reads them wherever they are.

        Raises TypeError for what is no graph, GraphError and NotPicklable for one that cannot run or has a sink that cannot be written to
        (as far as that can be known here), ClusterClosed, and what ended the connection.
        """
        if not isinstance(graph, Graph):
            raise TypeError(_not_a_graph(graph))
        from headrace.client.connection import new_job_id
        from headrace.client.following import Following
        from headrace.client.job import Job
        from headrace.graph.freezing import freeze

        connection = self._usable()
        following = Following(connection, new_job_id())
        spec = freeze(graph)
        following.submit(spec, _checked_sink(spec, sink, following.job) if sink is not None or spec.sinks else None)
        return Job(self, connection, following, self._progress)

    def compute(self, *nodes: Any, name: str = "compute", timeout: float | None = None, progress: bool | None = None) -> Any:
        """Run what the nodes need, and return their values: of one argument its value, of several a tuple.

        Nodes may be of graphs or made by calling functions decorated with `hr.task`, and stand anywhere inside lists, tuples and
        dict values; what is no node is returned as it is, but a graph is a TypeError (`submit` runs graphs). A node of several outputs
        gives the list of its values. name: of the job. timeout, progress and errors as of `Job.results`; on any error the job is cancelled.
        """
        check_timeout(timeout)
        wanted = datasets_in(nodes)
        values: dict[Any, Any] = {}
        if wanted:
            graph = Graph.from_nodes(wanted, name)
            job = self.submit(graph)
            try:
                values = dict(zip(wanted, job.values(list(graph.columns.outputs), timeout, progress), strict=True))
            except BaseException:
                abandon(job)
                raise
        computed = with_values(nodes, values)
        return computed[0] if len(nodes) == 1 else computed

    def job(self, job_id: str) -> Job:
        """A job that was submitted before, by whomever. Raises NoSuchJob."""
        from headrace.client.connection import check_job_id
        from headrace.client.following import Following
        from headrace.client.job import Job

        connection = self._usable()
        following = Following(connection, check_job_id(job_id))
        connection.call(following.attach())
        return Job(self, connection, following, self._progress)

    def jobs(self) -> list[JobEntry]:
        """Every job that the cluster remembers, oldest first: `job` (its id), `name`, `state`, `n_tasks`, `n_done`, `error`, ..."""
        connection = self._usable()
        entries: list[JobEntry] = connection.call(connection.jobs())
        return entries

    def outputs(self, where: Mapping[str, Any] | None = None, /, *, job: str | None = None, **metadata: Any) -> list[OutputRecord]:
        """What was announced of outputs, of all jobs or of one, by its id: as `Job.outputs`, also of jobs that the log has forgotten.

        Reads the whole catalogue of the cluster where no job is given: some hundred thousand records a second.
        """
        from headrace.client.catalogue import having, read_catalogue
        from headrace.client.connection import check_job_id

        matches, connection = having(where, metadata), self._usable()
        known = connection.known.outputs()
        expected = {job: known[job]} if job in known else {} if job else known
        catalogue: Catalogue = connection.call(read_catalogue(connection.bus, check_job_id(job) if job else "", expected))
        return catalogue.find(matches)

    # --- about the cluster --------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Address of its NATS server."""
        return self._settings.url

    @property
    def token(self) -> str:
        """The token to log in with; empty if the login is another one."""
        return self._settings.token

    @property
    def hosts(self) -> list[str]:
        """Names of the hosts that are at work."""
        return self._usable().hosts

    def status(self) -> ClusterStatus:
        """How the cluster stands: its hosts, which services lead, jobs that are not over, and how full its log and other streams are."""
        from headrace.client.standing import cluster_status

        connection = self._usable()
        found: ClusterStatus = connection.call(cluster_status(connection))
        return found

    def pids(self) -> dict[str, int]:
        """Process ids of a local cluster's services, and of its supervisor, by name; empty for a connected one."""
        return {} if self._local is None else dict(self._local.pids)

    def metrics_addresses(self) -> dict[str, str]:
        """Where the services answer Prometheus (http://ADDRESS/metrics), by name: the central ones, and every host.

        Empty unless they were started with HEADRACE_METRICS in their environment, e.g. "127.0.0.1:0"; the processes of a local cluster
        take a free port each. Of several controllers, schedulers or publishers one is asked.
        """
        from headrace.client.standing import metrics_addresses

        connection = self._usable()
        addresses: dict[str, str] = connection.call(metrics_addresses(connection))
        return addresses

    def peak_memory(self) -> int:
        """Bytes that a local cluster has needed at most: the private peaks of this process and of all that the cluster runs, and
        of the stores.

        The peaks are added up though they need not have been at the same time, and a runner that was replaced does not count. Raises
        ClusterFailed for a connected cluster, whose processes are elsewhere.
        """
        from headrace.client.memory import private_peaks
        from headrace.client.standing import store_peaks

        connection = self._usable()
        if self._local is None:
            raise ClusterFailed("only a local cluster's memory can be measured from here: ask its hosts, with `nats req`")
        stores: int = connection.call(store_peaks(connection))
        return private_peaks(self._local.pids["supervisor"]) + stores

    def wait(self, stop: threading.Event) -> None:
        """Wait until the event is set. Raises what ends the cluster, if that comes before."""
        from headrace.client.connection import Alarm

        connection = self._usable()
        alarm = Alarm(stop)
        connection.thread.soon(connection.watch, alarm)
        stop.wait()
        if alarm.error is not None:
            raise alarm.error

    def close(self) -> None:
        """Leave the cluster; a local one ends with everything that it started. May be called again. A Ctrl-C waits until it is done."""
        detached = self._finalizer.detach()
        if detached is None:
            return
        with interrupts_held() as held:
            _close(*detached[2])
        if held and not isinstance(sys.exception(), KeyboardInterrupt):
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a cluster cannot be sent to a task: it is a connection of this process. Leave it out of the function and its arguments; "
            "a task that has to submit jobs makes its own with hr.Cluster.connect"
        )

    def __repr__(self) -> str:
        state = "" if self._finalizer.alive else ", closed"
        return f"<Cluster at {self._settings.shown_url}{', local' if self._local is not None else ''}{state}>"

    def _usable(self) -> Connection:
        """The connection. Raises what has ended it."""
        self._connection.check()
        return self._connection


def _checked_sink(spec: GraphSpec, sink: Sink | str | os.PathLike[str] | None, job: str) -> SinkSpec | None:
    """The sink of a job. Raises GraphError if it, or those of single outputs, cannot be written to."""
    from headrace.sinks.checks import check_sinks
    from headrace.sinks.sink import Sink

    found = Sink.of(sink).spec() if sink is not None else None
    check_sinks(spec, found, job)
    return found


def _check_sizes(hosts: int, runners: int, capacity: int | None) -> None:
    for name, value in (("hosts", hosts), ("runners", runners)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r}: give a whole number from 1")
    if capacity is not None and (not isinstance(capacity, int) or capacity < MIN_CAPACITY):
        raise ValueError(f"capacity={capacity!r}: give a whole number of bytes, at least {MIN_CAPACITY} (1 MiB)")


def _checked(resources: Mapping[str, float] | None) -> dict[str, float]:
    """What each host of a local cluster is to have. Raises SettingsError."""
    try:
        return check_resources(resources or {}, "a local cluster's hosts")
    except GraphError as error:
        raise SettingsError(str(error)) from None


def _not_a_graph(given: Any) -> str:
    if isinstance(given, (Node, Dataset)):
        return f"submit takes an hr.Graph, not {given}: use cluster.compute(node) for its value, or submit(hr.Graph.from_nodes(node))"
    return f"submit takes an hr.Graph, not {given!r:.80}: make one with hr.Graph() and its add, or use cluster.compute for nodes"


def _close_at_last(owner: int, connection: Connection, local: LocalServices | None) -> None:
    """`_close` where nobody asked for it: the cluster was forgotten, or the interpreter exits."""
    with interrupts_held():
        _close(owner, connection, local)


def _close(owner: int, connection: Connection, local: LocalServices | None) -> None:
    """End what a cluster began, in the process that began it."""
    if os.getpid() != owner:
        return
    if local is not None:
        connection.thread.soon_if_open(connection.thread.loop.remove_reader, local.report_fd())
    try:
        connection.close(flush=local is None)
    finally:
        if local is not None:
            local.stop()


def _watch_services(connection: Connection, services: LocalServices) -> None:
    """End the connection when the cluster cannot go on. On its loop."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        failure = services.check_reports()
        if failure is not None:
            loop.remove_reader(services.report_fd())
            connection.fail(failure)

    loop.add_reader(services.report_fd(), read)


ABANDON_TIMEOUT = 2.0
"""Seconds that a client which was interrupted waits for the cluster to take note that its job is to be stopped."""


def abandon(job: Job) -> None:
    """Stop a job, unless it is over, whose client goes on without its results."""
    try:
        if not job.done:
            job.cancel("its client stopped waiting for it", ABANDON_TIMEOUT)
    except HeadraceError:  # the cluster is closed or gone, and the job with it
        return
