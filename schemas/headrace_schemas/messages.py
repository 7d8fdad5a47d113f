"""Every message, one struct each. The docstring of a struct is what the message says to its readers.

Columns are parallel lists: entry k of each belongs together. They name hosts by their index in a job's host table (`Plan.hosts`), and tasks
and datasets by their dense ids in the graph. An empty attempt column means attempt 0 for every entry, which is the usual case.

`limits` has the ranges of fields. The class variables at the top of each struct state what must hold between fields (see `base.Record`).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from headrace_schemas import subjects
from headrace_schemas.base import Decision, Message, Record
from headrace_schemas.graph import GraphSource
from headrace_schemas.limits import Amount, Attempt, ChainId, Count, HostIndex, Id, Length, Seconds, Size, Stamp
from headrace_schemas.options import JobOptions

EndState = Literal["done", "failed", "cancelled"]
"""How a job ends."""
JobState = Literal["queued", "running", EndState]

# --- messages of a client -------------------------------------------------------------------------------------------


class Submitted(Message, tag="submitted", kw_only=True):
    """Ask the cluster to run a graph as `job`, an id that the client made up. The first message of a job's log: it creates the job.

    name, n_tasks: of the graph, also where the graph is in the object store. client: shown to operators.
    """

    stands_on: ClassVar = (subjects.submitted, "job")

    job: str
    name: str = ""
    n_tasks: Count = 0
    graph: GraphSource
    options: JobOptions | None = None
    """None: the defaults, or those of an older client, see `options.options_of`."""
    client: str = ""


# --- requests of a client (stream REQUESTS) -----------------------------------------------------------------------


class Cancel(Message, tag="cancel", kw_only=True):
    """Stop this job."""

    stands_on: ClassVar = (subjects.request, "job")

    job: str
    reason: str = ""


class Release(Message, tag="release", kw_only=True):
    """The client has fetched these outputs (empty: all of them), so that hosts need not keep them for it."""

    stands_on: ClassVar = (subjects.request, "job")

    job: str
    datasets: list[Id] = []


Request = Cancel | Release

# --- decisions of the controller -----------------------------------------------------------------------------------


class Needed(Decision, tag="needed", kw_only=True):
    """These tasks must run, as these attempts, because their last attempt failed or the datasets that they made were lost."""

    stands_on: ClassVar = (subjects.needed, "job")
    columns: ClassVar = (("tasks", "attempts"),)

    job: str
    about: str = ""
    """The first of these tasks or datasets by name, for people who watch. No service decides anything by it."""
    tasks: list[Id]
    attempts: list[Attempt]
    reason: str = ""


class Refused(Decision, tag="refused", kw_only=True):
    """This job may not run, because it has a sink where the operator (HEADRACE_SINKS) allows no files.

    The controller writes what it found into the log before it acts on it.
    """

    stands_on: ClassVar = (subjects.state, "job")

    job: str
    reason: str


class Due(Decision, tag="due", kw_only=True):
    """The pause after these failed attempts is over, and the tasks may be tried again.

    The controller writes the expiry of its timer into the log before it acts on it.
    """

    stands_on: ClassVar = (subjects.needed, "job")
    columns: ClassVar = (("tasks", "attempts"),)

    job: str
    about: str = ""
    """The first of these tasks or datasets by name, for people who watch. No service decides anything by it."""
    tasks: list[Id]
    attempts: list[Attempt]
    """Per task: the attempt that failed."""


class TaskError(Record, kw_only=True):
    """One failed attempt, as the host reports it and as the client shows it."""

    task: Id
    attempt: Attempt = 0
    reason: str = "raised"
    """raised | runner_died | out_of_memory | unpicklable | bad_output | import_failed | sink_failed | no_host | no_graph | unreachable |
    too_large | internal | host_lost. The controller reports no_host, host_lost, and sink_failed for an output that cannot be
    committed; a host reports all others."""
    name: str = ""
    """The task's name."""
    inputs: list[str] = []
    """The names of its inputs."""
    error: str = ""
    """Type and message of the exception, in one line."""
    traceback: str = ""
    """The traceback as the runner printed it."""
    pickled: bytes = b""
    """The pickled exception, if it could be pickled and is small. Only clients unpickle it."""
    pid: Count = 0
    memory: Size = 0
    """With out_of_memory: peak memory of the runner, in bytes."""
    limit: Size = 0
    """With out_of_memory: memory of its host, in bytes."""


class Ended(Decision, tag="ended", kw_only=True):
    """The job is over: done (every output exists and every task succeeded), failed, or cancelled.

    Hosts drop what they still hold of it, except outputs of a job that is done, which they keep until a purge.

    The first `Ended` of a job is final. If outputs of a job that is done are lost before a client has fetched them, `Needed` and `Assign`
    have them computed again. Another `Ended` then says that they exist again, or, with a reason, that they cannot be computed.
    """

    stands_on: ClassVar = (subjects.state, "job")

    job: str
    state: EndState
    reason: str = ""
    error: TaskError | None = None


class Released(Decision, tag="released", kw_only=True):
    """The hosts need not keep these outputs (empty: all) for the client: it sent a `Release`, or nobody fetched them in time."""

    stands_on: ClassVar = (subjects.state, "job")

    job: str
    datasets: list[Id] = []
    reason: str = ""
    """For people: the reason, if no client asked for it."""


class CancelAsked(Decision, tag="cancel_asked", kw_only=True):
    """A client asked to cancel the job. The controller writes the request into the log before it acts on it."""

    stands_on: ClassVar = (subjects.state, "job")

    job: str
    reason: str = ""


class Stranded(Decision, tag="stranded", kw_only=True):
    """For `seconds`, the job has had tasks that no living host can run.

    The controller writes the expiry of its timer into the log before it acts on it.
    """

    stands_on: ClassVar = (subjects.state, "job")

    job: str
    seconds: Seconds
    alone: bool = False
    """Whether no host was alive at all. Otherwise hosts were alive, but none had the resources that some tasks need."""


class NoRoom(Decision, tag="no_room", kw_only=True):
    """The log has no room for this job, so the controller ends it.

    The controller writes what it saw of the stream into the log before it acts on it.
    """

    stands_on: ClassVar = (subjects.state, "job")

    job: str
    used: Size
    """Size of the log, in bytes."""
    limit: Size
    """Limit of the log, in bytes."""
    admitted: bool = False
    """Whether the job was already running. Otherwise it was submitted while the controller admitted no job."""


class Purge(Decision, tag="purge", kw_only=True):
    """Tell a host to drop its copies of these datasets. The host answers `kept` for a dataset that a newer assignment or want needs."""

    stands_on: ClassVar = (subjects.purge, "job", "host")

    job: str
    host: str
    epoch: Stamp
    about: str = ""
    """The first of these tasks or datasets by name, for people who watch. No service decides anything by it."""
    datasets: list[Id]


class HostJoined(Decision, tag="host_joined", kw_only=True):
    """A host joined.

    A host that restarts, or that lost its lease, joins again with a higher epoch. Of the datasets that it held before, it keeps only those
    that it lists in `Events` with `rejoining` under the new epoch.
    """

    stands_on: ClassVar = (subjects.host, "host")
    places: ClassVar = ("address",)

    host: str
    epoch: Stamp
    address: str
    """host:port of its data plane."""
    runners: Count
    capacity: Size
    """Capacity of its store, in bytes."""
    resources: dict[str, Amount] = {}
    memory: Size = 0
    """Memory that the host may use, in bytes; 0 if the host does not say."""
    rejoins: bool = False
    """Whether the host had only lost its lease, without a restart."""
    again: bool = False
    """Whether the log has had this before. The controller repeats it while the host is at work, so that it does not age out of the log."""


class HostLost(Decision, tag="host_lost", kw_only=True):
    """A host's lease expired, or the host left, or its peers cannot reach it.

    From here on, messages of this epoch of the host do not count.
    """

    stands_on: ClassVar = (subjects.host, "host")

    host: str
    epoch: Stamp
    reason: str = ""
    cut: bool = False
    """Whether the host still has its lease, but its peers cannot reach it. It joins again once it reaches one of them."""


# --- decisions of the scheduler -------------------------------------------------------------------------------------


class Plan(Decision, tag="plan", kw_only=True):
    """A part of a job's plan: chains in plan order. Chain ids count through all parts; this part begins at `first`."""

    stands_on: ClassVar = (subjects.plan, "job")
    columns: ClassVar = (("hosts", "epochs"), ("lengths", "placed"))
    totals: ClassVar = (("lengths", "tasks"),)
    indexes: ClassVar = (("placed", "hosts"),)
    tokens: ClassVar = ("hosts",)

    job: str
    planner: str
    part: Count
    parts: Count
    hosts: list[str]
    """The job's host table, which only ever grows. Columns elsewhere are indexes into it."""
    epochs: list[Stamp]
    first: ChainId
    lengths: list[Length]
    """Per chain: number of tasks."""
    tasks: list[Id]
    """The chains' tasks, concatenated, in the order in which they run."""
    placed: list[HostIndex]
    """Per chain: index of its host."""
    makespan: Seconds = 0.0
    """Predicted seconds to run the plan; 0 if there is no prediction."""


class Assign(Decision, tag="assign", kw_only=True):
    """Release chains to a host: the next of its window, in plan order, or new attempts."""

    stands_on: ClassVar = (subjects.assign, "job", "host")
    columns: ClassVar = (("hosts", "addresses"), ("chains", "lengths", "positions?"), ("tasks", "attempts?"))
    totals: ClassVar = (("lengths", "tasks"),)
    indexes: ClassVar = (("sources", "hosts"),)
    tokens: ClassVar = ("hosts",)

    job: str
    host: str
    epoch: Stamp
    """Epoch of the host. A host ignores an assignment for another epoch."""
    about: str = ""
    """The first of these tasks or datasets by name, for people who watch. No service decides anything by it."""
    hosts: list[str]
    addresses: list[str]
    """Data-plane addresses of `hosts`."""
    chains: list[ChainId]
    """Chain ids. Chains of new attempts have ids beyond those of the plan."""
    positions: list[ChainId] = []
    """Per chain: its position in plan order, by which a host decides what runs next. A chain of new attempts has that of the chain that
    its first task had in the plan. Empty: the ids are the positions."""
    lengths: list[Length]
    tasks: list[Id]
    attempts: list[Attempt] = []
    """Per task."""
    sources: list[HostIndex] = []
    """Per input from outside its chain, ordered by task and then by input: index of the host that has or will have it."""
    graph: GraphSource | None = None
    """The job's graph, in the first assignment of the job to a host."""
    options: JobOptions | None = None
    """The job's options, beside `graph`. None: the defaults, or those of an older scheduler, see `options.options_of`."""
    reopens: bool = False
    """Whether the job is done, and these chains compute lost outputs again. The host resumes the job until it ends once more."""
    again: bool = False
    """Whether these chains are not from the plan, but contain tasks that were placed again. The host reports their tasks one by one, for
    readers that do not read assignments."""
    alone: bool = False
    """Whether the host runs no other task while it runs one of these chains, because a host was lost, or ran out of memory, while it ran
    each of them before."""
    gang: list[str] = []
    """Reserved: the hosts of a gang, in rank order."""


class Revoke(Decision, tag="revoke", kw_only=True):
    """Ask a host to give these chains back if it has not started them.

    `cuts`: per chain, the position of the first task to give back (0: all).
    """

    stands_on: ClassVar = (subjects.assign, "job", "host")
    columns: ClassVar = (("chains", "cuts?"),)

    job: str
    host: str
    epoch: Stamp
    chains: list[ChainId]
    cuts: list[Id] = []


class Reroute(Decision, tag="reroute", kw_only=True):
    """Tell a host to fetch these datasets from other hosts, because the hosts that it asked so far are lost or have dropped them."""

    stands_on: ClassVar = (subjects.assign, "job", "host")
    columns: ClassVar = (("hosts", "addresses"), ("datasets", "attempts?"), ("datasets", "sources"))
    indexes: ClassVar = (("sources", "hosts"),)
    tokens: ClassVar = ("hosts",)

    job: str
    host: str
    epoch: Stamp
    hosts: list[str]
    addresses: list[str]
    datasets: list[Id]
    attempts: list[Attempt] = []
    sources: list[HostIndex]


# --- decisions of controller and scheduler --------------------------------------------------------------------------


class TermBegan(Decision, tag="term_began", kw_only=True):
    """A new leader leads this service: from here on, readers ignore decisions of its earlier terms.

    The leader reads the log up to this message before it decides, so it knows every decision of former leaders that readers accept.
    """

    stands_on: ClassVar = (subjects.term, "service")

    service: Literal["controller", "scheduler"]
