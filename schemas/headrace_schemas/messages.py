"""Every message, one struct each. Columns are parallel lists: entry k of each belongs together.

Hosts are named by their index in a job's host table (`Plan.hosts`), tasks and datasets by their dense ids in the graph.
An attempt column that is empty means attempt 0 throughout, which is the usual case.

The ranges of fields are those of `limits`; what must hold between fields stands at the top of each struct (see `base.Record`).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from headrace_schemas import subjects
from headrace_schemas.base import Decision, Message, Record
from headrace_schemas.graph import GraphSource
from headrace_schemas.limits import Amount, Attempt, ChainId, Count, HostIndex, Id, Length, Moment, Seconds, Size, Stamp

EndState = Literal["done", "failed", "cancelled"]
"""How a job ends."""
JobState = Literal["queued", "running", EndState]

# --- what a client says -------------------------------------------------------------------------------------------


class Submitted(Message, tag="submitted", kw_only=True):
    """This graph is to run as `job`, an id that the client made up. First message of a job's log: with it the job exists.

    name, n_tasks: of the graph, also where that is in the object store. client: shown to operators.
    """

    stands_on: ClassVar = (subjects.submitted, "job")

    job: str
    name: str = ""
    n_tasks: Count = 0
    graph: GraphSource
    client: str = ""


# --- requests of a client (stream REQUESTS) -----------------------------------------------------------------------


class Cancel(Message, tag="cancel", kw_only=True):
    """Stop this job."""

    stands_on: ClassVar = (subjects.request, "job")

    job: str
    reason: str = ""


class Release(Message, tag="release", kw_only=True):
    """The client holds these outputs now (empty: all of them): the hosts need not keep them for it."""

    stands_on: ClassVar = (subjects.request, "job")

    job: str
    datasets: list[Id] = []


Request = Cancel | Release

# --- decisions of the controller -----------------------------------------------------------------------------------


class Needed(Decision, tag="needed", kw_only=True):
    """These tasks must run (again), as these attempts: their last attempt failed, or what they made was lost."""

    stands_on: ClassVar = (subjects.needed, "job")
    columns: ClassVar = (("tasks", "attempts"),)

    job: str
    about: str = ""
    """In words, for people who watch: the first of these tasks or datasets by name. Nothing is decided by it."""
    tasks: list[Id]
    attempts: list[Attempt]
    reason: str = ""


class Refused(Decision, tag="refused", kw_only=True):
    """This job may not run, for it has a sink where no file may be written: a look at what the operator allows (HEADRACE_SINKS), put into
    the log before it is acted on."""

    stands_on: ClassVar = (subjects.state, "job")

    job: str
    reason: str


class Due(Decision, tag="due", kw_only=True):
    """The pause after these failed attempts is over, and the tasks may be tried again: a timer, put into the log before it is acted on."""

    stands_on: ClassVar = (subjects.needed, "job")
    columns: ClassVar = (("tasks", "attempts"),)

    job: str
    about: str = ""
    """In words, for people who watch: the first of these tasks or datasets by name. Nothing is decided by it."""
    tasks: list[Id]
    attempts: list[Attempt]
    """Per task: the attempt that failed."""


class TaskError(Record, kw_only=True):
    """One failed attempt, as the host reports it and as the client shows it."""

    task: Id
    attempt: Attempt = 0
    reason: str = "raised"
    """raised | runner_died | out_of_memory | unpicklable | bad_output | import_failed | sink_failed | no_host | no_graph | unreachable |
    too_large | internal | host_lost. Of no_host and host_lost the controller says it, of all others a host."""
    name: str = ""
    """The task's name."""
    inputs: list[str] = []
    """The names of its inputs."""
    error: str = ""
    """Type and message of the exception, in one line."""
    traceback: str = ""
    """The traceback as the runner printed it."""
    pickled: bytes = b""
    """The exception itself, if it could be pickled and is small. Only clients unpickle it."""
    runner: Count = 0
    pid: Count = 0
    memory: Size = 0
    """With out_of_memory: bytes that the runner had at its peak."""
    limit: Size = 0
    """With out_of_memory: bytes of memory that its host has."""


class Ended(Decision, tag="ended", kw_only=True):
    """The job is over: done (every output exists and every task ended well), failed, or cancelled. Hosts drop what they still hold of it,
    except outputs of a job that is done, which they keep until a purge.

    The first one of a job says how it ended, for good. If outputs of a job that is done are lost before a client has fetched them, `Needed`
    and `Assign` have them made again; another `Ended` says that they are there, or, with a reason, that they will not be."""

    stands_on: ClassVar = (subjects.state, "job")

    job: str
    state: EndState
    reason: str = ""
    error: TaskError | None = None


class Released(Decision, tag="released", kw_only=True):
    """These outputs (empty: all) need not be kept for the client: its Release, put into the log; or nobody came for them in time."""

    stands_on: ClassVar = (subjects.state, "job")

    job: str
    datasets: list[Id] = []
    reason: str = ""
    """For people: why, if no client asked for it."""


class CancelAsked(Decision, tag="cancel_asked", kw_only=True):
    """The client's Cancel, put into the log before it is acted on."""

    stands_on: ClassVar = (subjects.state, "job")

    job: str
    reason: str = ""


class Stranded(Decision, tag="stranded", kw_only=True):
    """For so long this job has had tasks that no living host can run: a timer, put into the log before it is acted on."""

    stands_on: ClassVar = (subjects.state, "job")

    job: str
    seconds: Seconds
    alone: bool = False
    """Whether no host lived at all; otherwise hosts lived, and none had the resources that some tasks need."""


class NoRoom(Decision, tag="no_room", kw_only=True):
    """The log has no room for this job, which ends for that: a look at the stream, put into the log before it is acted on."""

    stands_on: ClassVar = (subjects.state, "job")

    job: str
    used: Size
    """Bytes that the log held."""
    limit: Size
    """Bytes that it may hold."""
    admitted: bool = False
    """Whether the job was under way already; otherwise it was submitted while no job was admitted."""


class Purge(Decision, tag="purge", kw_only=True):
    """This host drops its copies of these datasets. It answers `kept` for one that a newer assignment or want needs."""

    stands_on: ClassVar = (subjects.purge, "job", "host")

    job: str
    host: str
    epoch: Stamp
    about: str = ""
    """In words, for people who watch: the first of these tasks or datasets by name. Nothing is decided by it."""
    datasets: list[Id]


class HostJoined(Decision, tag="host_joined", kw_only=True):
    """A host took up work. A host that restarts, or that lost its lease, joins again with a higher epoch. Of what it held before,
    only the datasets remain that it lists in `Events` with `rejoining` under the new epoch."""

    stands_on: ClassVar = (subjects.host, "host")
    places: ClassVar = ("address",)

    host: str
    epoch: Stamp
    address: str
    """host:port of its data plane."""
    runners: Count
    capacity: Size
    """Bytes of its store."""
    resources: dict[str, Amount] = {}
    memory: Size = 0
    """Bytes of memory that the host may use; 0 if it does not say."""
    rejoins: bool = False
    """Whether the host had only lost its lease, and did not end."""


class HostLost(Decision, tag="host_lost", kw_only=True):
    """A host's lease ran out, or it left, or its peers cannot reach it. Nothing that it says of this epoch counts from here on."""

    stands_on: ClassVar = (subjects.host, "host")

    host: str
    epoch: Stamp
    reason: str = ""
    cut: bool = False
    """Whether it keeps its lease, and its peers cannot reach it: it joins again once it reaches one of them."""


# --- decisions of the scheduler -------------------------------------------------------------------------------------


class Plan(Decision, tag="plan", kw_only=True):
    """A part of a job's plan: chains in plan order. Chain ids are counted through the parts: this one begins at `first`."""

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
    """The job's host table; it only ever grows. Columns elsewhere are indexes into it."""
    epochs: list[Stamp]
    first: ChainId
    lengths: list[Length]
    """Per chain: number of tasks."""
    tasks: list[Id]
    """The chains' tasks, concatenated, in the order in which they run."""
    placed: list[HostIndex]
    """Per chain: index of its host."""
    makespan: Seconds = 0.0
    """Predicted seconds; 0 if not predicted."""


class Assign(Decision, tag="assign", kw_only=True):
    """Releases chains to a host: the next of its window, in plan order, or new attempts."""

    stands_on: ClassVar = (subjects.assign, "job", "host")
    columns: ClassVar = (("hosts", "addresses"), ("chains", "lengths"), ("tasks", "attempts?"))
    totals: ClassVar = (("lengths", "tasks"),)
    indexes: ClassVar = (("sources", "hosts"),)
    tokens: ClassVar = ("hosts",)

    job: str
    host: str
    epoch: Stamp
    """Of the host; a host ignores an assignment for another epoch."""
    about: str = ""
    """In words, for people who watch: the first of these tasks or datasets by name. Nothing is decided by it."""
    hosts: list[str]
    addresses: list[str]
    """Data-plane addresses, for the same indexes."""
    chains: list[ChainId]
    """Ids, which are also places in plan order. Chains of new attempts have ids beyond the plan's."""
    lengths: list[Length]
    tasks: list[Id]
    attempts: list[Attempt] = []
    """Per task."""
    sources: list[HostIndex] = []
    """Per input from outside its chain, tasks in order and inputs in graph order: index of the host that has or will have it."""
    graph: GraphSource | None = None
    """With the first assignment of a job to a host."""
    reopens: bool = False
    """Whether the job is done, and these chains are to make outputs again that were lost: the host takes it up again, until it ends once
    more."""
    again: bool = False
    """Whether these chains are not of the plan, but of tasks that were placed anew: the host reports these tasks one by one, for who reads
    no assignments."""
    alone: bool = False
    """Whether the host executes nothing else while it executes one of these chains: a host was lost, or ran out of memory, under each of
    them."""
    gang: list[str] = []
    """Reserved: the hosts of a gang, in rank order."""


class Revoke(Decision, tag="revoke", kw_only=True):
    """Give these chains back if they have not started. `cuts`: per chain, the position from which to give it back (0: all)."""

    stands_on: ClassVar = (subjects.assign, "job", "host")
    columns: ClassVar = (("chains", "cuts?"),)

    job: str
    host: str
    epoch: Stamp
    chains: list[ChainId]
    cuts: list[Id] = []


class Reroute(Decision, tag="reroute", kw_only=True):
    """Ask another host for these datasets: the one asked so far is lost or has dropped them."""

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


# --- facts of a host ------------------------------------------------------------------------------------------------


class Events(Message, tag="events", kw_only=True):
    """What happened on a host since its last batch, for one job."""

    stands_on: ClassVar = (subjects.event, "job", "host")
    columns: ClassVar = (
        ("done", "done_attempts?"),
        ("produced", "produced_attempts?", "sizes?"),
        ("value_ids", "values"),
        ("metadata_ids", "metadata"),
        ("typed", "dtypes", "shapes"),
    )
    tokens: ClassVar = ("unreachable",)

    job: str
    host: str
    epoch: Stamp
    about: str = ""
    """In words, for people who watch: the first of these tasks or datasets by name. Nothing is decided by it."""
    rejoining: bool = False
    """Whether this is from before `epoch`: the host lost its lease, and says what it still holds before it joins again under `epoch`. It
    counts from the moment at which the host has joined."""
    started: list[Id] = []
    """Tasks running now that were not when the last batch was sent."""
    done: list[Id] = []
    """Tasks that ended well, one by one."""
    done_attempts: list[Attempt] = []
    chains: list[ChainId] = []
    """Chains whose tasks all ended well: stands for a `done` of each."""
    produced: list[Id] = []
    """Datasets that exist on this host from now on, outside a runner."""
    produced_attempts: list[Attempt] = []
    sizes: list[Size] = []
    """Per produced dataset: bytes."""
    value_ids: list[Id] = []
    """Outputs asked for whose values travel here, for they are small."""
    values: list[bytes] = []
    metadata_ids: list[Id] = []
    """Produced datasets that were yielded with metadata."""
    metadata: list[dict[str, Any]] = []
    typed: list[Id] = []
    """Outputs among `produced` that are one array."""
    dtypes: list[str] = []
    shapes: list[list[Size]] = []
    written: list[Written] = []
    """Outputs that are in their sink, under a temporary name. They are available once they are published."""
    copied: list[Id] = []
    """Datasets of other hosts that this host holds a copy of from now on."""
    failed: list[TaskError] = []
    revoked: list[ChainId] = []
    """Chains given back, not started."""
    kept: list[Id] = []
    """Datasets that a purge named and that are still needed here."""
    gone: list[Id] = []
    """Datasets that this host was thought to have and has not: dropped, or lost with a runner."""
    unreachable: list[str] = []
    """Hosts that this one has not been able to open a link to for some seconds, though it needs data from there. Said again while that
    lasts."""
    profile: list[FunctionProfile] = []
    memory_used: Size = 0
    """Bytes of the store in use when the batch was sent."""


class Written(Record, kw_only=True):
    """An output that was encoded and written into its sink, to be committed by the publisher."""

    dataset: Id
    attempt: Attempt = 0
    write: str = ""
    """Which write of its host it was: the host's epoch, and what tells its writes apart. Whoever reads this computes the names of the file
    from it, from the job's sink, and from the output's name and metadata."""
    part: str
    """For people: where it is, a temporary name beside `location`. No service takes the name from here."""
    location: str
    """For people: where it is to be. No service takes the name from here."""
    bytes: Size
    checksum: str
    """"sha256:" and the hexadecimal digest of the file."""
    encoding: str
    """npy | npz | nc | parquet | arrow | pickle, or what a user's encoder writes."""
    dtype: str = ""
    """Of an array; `shape` with it."""
    shape: list[Size] | None = None


class FunctionProfile(Record, kw_only=True):
    """How long the tasks of a function took since the last batch. Seconds."""

    function: Id
    count: Count
    total: Seconds
    longest: Seconds


# --- facts of the publisher -----------------------------------------------------------------------------------------


class Output(Record, kw_only=True):
    """One published output."""

    dataset: Id
    name: str
    metadata: dict[str, Any] = {}
    host: str = ""
    """Who held it then; empty if its value travelled in an event, or the client had it already."""
    bytes: Size = 0
    location: str = ""
    """Where a sink put it; empty for one held for the client."""
    checksum: str = ""
    """"sha256:" and the digest: of the file in a sink, or of a value that travelled in an event."""
    encoding: str = ""
    """What the file of a sink is; empty for one held for the client."""
    dtype: str = ""
    """Of an array; `shape` with it."""
    shape: list[Size] | None = None


class NotCommitted(Record, kw_only=True):
    """An output that was written and could not be committed: what was written is not there, or not what was announced."""

    dataset: Id
    attempt: Attempt = 0
    error: str


class Published(Decision, tag="published", kw_only=True):
    """These outputs exist, each announced once. For one with a sink the announcement is what makes it available.

    Outputs in sinks, and those that could not be committed, stand on a subject of their own, apart from outputs held for the client.
    """

    job: str
    outputs: list[Output]
    failed: list[NotCommitted] = []

    def subject(self) -> str:
        return subjects.committed(self.job) if self.is_committed else subjects.output(self.job)

    @property
    def is_committed(self) -> bool:
        """Whether it is about outputs in sinks. Raises ValueError if it is about nothing, or about both kinds."""
        kinds = {bool(output.location) for output in self.outputs} | ({True} if self.failed else set())
        if len(kinds) != 1:
            raise ValueError("it announces outputs in sinks and others together" if kinds else "it announces nothing")
        return kinds.pop()


# --- values in key-value buckets ------------------------------------------------------------------------------------


class HostEntry(Message, tag="host", kw_only=True):
    """KV `hosts`: a host's lease. Renewed while it lives."""

    stands_on: ClassVar = (subjects.token, "host")
    places: ClassVar = ("address",)

    host: str
    epoch: Stamp
    address: str
    runners: Count
    capacity: Size
    pid: Count = 0
    resources: dict[str, Amount] = {}
    memory: Size = 0
    """Bytes of memory that the host may use; 0 if it does not say."""
    rejoins: bool = False
    """Whether the host had only lost its lease, and did not end."""


class LeaseEntry(Message, tag="lease", kw_only=True):
    """KV `leases`: who leads a service; the revision of a holder's first entry is its term. And who led it last, and in which terms it was
    led so far, under the service's name and `.term`: that entry stays."""

    holder: str
    terms: list[Stamp] = []
    """In ascending order, the latest ones; empty in the lease itself."""


class JobEntry(Message, tag="job", kw_only=True):
    """KV `jobs`: a job's state for people, rebuilt from the log at any time."""

    stands_on: ClassVar = (subjects.token, "job")

    job: str
    name: str
    state: JobState
    n_tasks: Count
    n_done: Count = 0
    client: str = ""
    error: str = ""
    submitted: Moment = 0.0
    """Seconds since the epoch, by the log's clock."""
    ended: Moment = 0.0


LogMessage = (
    Submitted
    | Needed
    | Due
    | Refused
    | Ended
    | Released
    | CancelAsked
    | Stranded
    | NoRoom
    | Purge
    | HostJoined
    | HostLost
    | Plan
    | Assign
    | Revoke
    | Reroute
    | Events
    | Published
)
"""Whatever may stand in the LOG stream, told apart by `kind`."""
