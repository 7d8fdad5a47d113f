"""Every message, one struct each. Columns are parallel lists: entry k of each belongs together.

Hosts are named by their index in a job's host table (`Plan.hosts`), tasks and datasets by their dense ids in the graph.
An attempt column that is empty means attempt 0 throughout, which is the usual case.
"""

from __future__ import annotations

from typing import Any

from headrace_schemas.base import Decision, Message, Record
from headrace_schemas.graph import GraphSource

# --- what a client says -------------------------------------------------------------------------------------------


class Submitted(Message, tag="submitted", kw_only=True):
    """This graph is to run as `job`, an id that the client made up. First message of a job's log: with it the job exists.

    name, n_tasks: of the graph, also where that is in the object store. client: shown to operators.
    """

    job: str
    name: str = ""
    n_tasks: int = 0
    graph: GraphSource
    client: str = ""


# --- requests of a client (stream REQUESTS) -----------------------------------------------------------------------


class Cancel(Message, tag="cancel", kw_only=True):
    """Stop this job."""

    job: str
    reason: str = ""


class Release(Message, tag="release", kw_only=True):
    """The client holds these outputs now (empty: all of them): the hosts need not keep them for it."""

    job: str
    datasets: list[int] = []


Request = Cancel | Release

# --- decisions of the controller -----------------------------------------------------------------------------------


class Needed(Decision, tag="needed", kw_only=True):
    """These tasks must run (again), as these attempts: their last attempt failed, or what they made was lost."""

    job: str
    about: str = ""
    """In words, for people who watch: the first of these tasks or datasets by name. Nothing is decided by it."""
    tasks: list[int]
    attempts: list[int]
    reason: str = ""


class TaskError(Record, kw_only=True):
    """One failed attempt, as the host reports it and as the client shows it."""

    task: int
    attempt: int = 0
    reason: str = "raised"
    """raised | runner_died | out_of_memory | unpicklable | bad_output | import_failed | sink_failed | no_host | no_graph | unreachable |
    too_large. Of no_host the controller says it, of all others a host."""
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
    runner: int = 0
    pid: int = 0


class Ended(Decision, tag="ended", kw_only=True):
    """The job is over, for good: done (every output exists and every task ended well), failed, or cancelled. Hosts drop what they
    still hold of it, except outputs of a job that is done, which they keep until a purge."""

    job: str
    state: str
    """done | failed | cancelled."""
    reason: str = ""
    error: TaskError | None = None


class Released(Decision, tag="released", kw_only=True):
    """These outputs (empty: all) need not be kept for the client: its Release, put into the log; or nobody came for them in time."""

    job: str
    datasets: list[int] = []
    reason: str = ""
    """For people: why, if no client asked for it."""


class CancelAsked(Decision, tag="cancel_asked", kw_only=True):
    """The client's Cancel, put into the log before it is acted on."""

    job: str
    reason: str = ""


class Stranded(Decision, tag="stranded", kw_only=True):
    """For so long this job has had tasks that need what no living host has: a timer, put into the log before it is acted on."""

    job: str
    seconds: float


class Purge(Decision, tag="purge", kw_only=True):
    """This host drops its copies of these datasets. It answers `kept` for one that a newer assignment or want needs."""

    job: str
    host: str
    epoch: int
    about: str = ""
    """In words, for people who watch: the first of these tasks or datasets by name. Nothing is decided by it."""
    datasets: list[int]


class HostJoined(Decision, tag="host_joined", kw_only=True):
    """A host took up work. A host that restarts joins again with a higher epoch; what it held before is gone."""

    host: str
    epoch: int
    address: str
    """host:port of its data plane."""
    runners: int
    capacity: int
    """Bytes of its store."""
    resources: dict[str, float] = {}


class HostLost(Decision, tag="host_lost", kw_only=True):
    """A host's lease ran out, or it left. Nothing that it says of this epoch counts from here on."""

    host: str
    epoch: int
    reason: str = ""


# --- decisions of the scheduler -------------------------------------------------------------------------------------


class Plan(Decision, tag="plan", kw_only=True):
    """A part of a job's plan: chains in plan order. Chain ids are counted through the parts: this one begins at `first`."""

    job: str
    planner: str
    part: int
    parts: int
    hosts: list[str]
    """The job's host table; it only ever grows. Columns elsewhere are indexes into it."""
    epochs: list[int]
    first: int
    lengths: list[int]
    """Per chain: number of tasks."""
    tasks: list[int]
    """The chains' tasks, concatenated, in the order in which they run."""
    placed: list[int]
    """Per chain: index of its host."""
    makespan: float = 0.0
    """Predicted seconds; 0 if not predicted."""


class Assign(Decision, tag="assign", kw_only=True):
    """Releases chains to a host: the next of its window, in plan order, or new attempts."""

    job: str
    host: str
    epoch: int
    """Of the host; a host ignores an assignment for another epoch."""
    about: str = ""
    """In words, for people who watch: the first of these tasks or datasets by name. Nothing is decided by it."""
    hosts: list[str]
    addresses: list[str]
    """Data-plane addresses, for the same indexes."""
    chains: list[int]
    """Ids, which are also places in plan order. Chains of new attempts have ids beyond the plan's."""
    lengths: list[int]
    tasks: list[int]
    attempts: list[int] = []
    """Per task."""
    sources: list[int] = []
    """Per input from outside its chain, tasks in order and inputs in graph order: index of the host that has or will have it."""
    graph: GraphSource | None = None
    """With the first assignment of a job to a host."""
    gang: list[str] = []
    """Reserved: the hosts of a gang, in rank order."""


class Revoke(Decision, tag="revoke", kw_only=True):
    """Give these chains back if they have not started. `cuts`: per chain, the position from which to give it back (0: all)."""

    job: str
    host: str
    epoch: int
    chains: list[int]
    cuts: list[int] = []


class Reroute(Decision, tag="reroute", kw_only=True):
    """Ask another host for these datasets: the one asked so far is lost or has dropped them."""

    job: str
    host: str
    epoch: int
    hosts: list[str]
    addresses: list[str]
    datasets: list[int]
    attempts: list[int] = []
    sources: list[int]


# --- facts of a host ------------------------------------------------------------------------------------------------


class Events(Message, tag="events", kw_only=True):
    """What happened on a host since its last batch, for one job."""

    job: str
    host: str
    epoch: int
    about: str = ""
    """In words, for people who watch: the first of these tasks or datasets by name. Nothing is decided by it."""
    started: list[int] = []
    """Tasks running now that were not when the last batch was sent."""
    done: list[int] = []
    """Tasks that ended well, one by one."""
    done_attempts: list[int] = []
    chains: list[int] = []
    """Chains whose tasks all ended well: stands for a `done` of each."""
    produced: list[int] = []
    """Datasets that exist on this host from now on, outside a runner."""
    produced_attempts: list[int] = []
    sizes: list[int] = []
    """Per produced dataset: bytes."""
    value_ids: list[int] = []
    """Outputs asked for whose values travel here, for they are small."""
    values: list[bytes] = []
    metadata_ids: list[int] = []
    """Produced datasets that were yielded with metadata."""
    metadata: list[dict[str, Any]] = []
    typed: list[int] = []
    """Outputs among `produced` that are one array."""
    dtypes: list[str] = []
    shapes: list[list[int]] = []
    written: list[Written] = []
    """Outputs that are in their sink, under a temporary name. They are available once they are published."""
    copied: list[int] = []
    """Datasets of other hosts that this host holds a copy of from now on."""
    failed: list[TaskError] = []
    revoked: list[int] = []
    """Chains given back, not started."""
    kept: list[int] = []
    """Datasets that a purge named and that are still needed here."""
    gone: list[int] = []
    """Datasets that this host was thought to have and has not: dropped, or lost with a runner."""
    unreachable: list[str] = []
    """Hosts that this one cannot open a link to."""
    profile: list[FunctionProfile] = []
    memory_used: int = 0
    """Bytes of the store in use when the batch was sent."""


class Written(Record, kw_only=True):
    """An output that was encoded and written into its sink, to be committed by the publisher."""

    dataset: int
    attempt: int = 0
    part: str
    """Where it is: a temporary name beside `location`."""
    location: str
    """Where it is to be."""
    bytes: int
    checksum: str
    """"sha256:" and the hexadecimal digest of the file."""
    encoding: str
    """npy | npz | nc | parquet | arrow | pickle, or what a user's encoder writes."""
    dtype: str = ""
    """Of an array; `shape` with it."""
    shape: list[int] | None = None


class FunctionProfile(Record, kw_only=True):
    """How long the tasks of a function took since the last batch. Seconds."""

    function: int
    count: int
    total: float
    longest: float


# --- facts of the publisher -----------------------------------------------------------------------------------------


class Output(Record, kw_only=True):
    """One published output."""

    dataset: int
    name: str
    metadata: dict[str, Any] = {}
    host: str = ""
    """Who held it then; empty if its value travelled in an event, or the client had it already."""
    bytes: int = 0
    location: str = ""
    """Where a sink put it; empty for one held for the client."""
    checksum: str = ""
    """"sha256:" and the digest: of the file in a sink, or of a value that travelled in an event."""
    encoding: str = ""
    """What the file of a sink is; empty for one held for the client."""
    dtype: str = ""
    """Of an array; `shape` with it."""
    shape: list[int] | None = None


class NotCommitted(Record, kw_only=True):
    """An output that was written and could not be committed: what was written is not there, or not what was announced."""

    dataset: int
    attempt: int = 0
    error: str


class Published(Decision, tag="published", kw_only=True):
    """These outputs exist, each announced once. For one with a sink the announcement is what makes it available."""

    job: str
    outputs: list[Output]
    failed: list[NotCommitted] = []


# --- values in key-value buckets ------------------------------------------------------------------------------------


class HostEntry(Message, tag="host", kw_only=True):
    """KV `hosts`: a host's lease. Renewed while it lives."""

    host: str
    epoch: int
    address: str
    runners: int
    capacity: int
    pid: int = 0
    resources: dict[str, float] = {}


class LeaseEntry(Message, tag="lease", kw_only=True):
    """KV `leases`: who leads a service. The entry's revision is the term."""

    holder: str


class JobEntry(Message, tag="job", kw_only=True):
    """KV `jobs`: a job's state for people, rebuilt from the log at any time."""

    job: str
    name: str
    state: str
    """queued | running | done | failed | cancelled."""
    n_tasks: int
    n_done: int = 0
    client: str = ""
    error: str = ""
    submitted: float = 0.0
    """Seconds since the epoch, by the log's clock."""
    ended: float = 0.0


LogMessage = (
    Submitted
    | Needed
    | Ended
    | Released
    | CancelAsked
    | Stranded
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
