"""What hosts and the publisher report, one struct each. See `messages` for what is true of all messages."""

from __future__ import annotations

from typing import Any, ClassVar

from headrace_schemas import subjects
from headrace_schemas.base import Decision, Message, Record
from headrace_schemas.limits import Attempt, ChainId, Count, Id, Seconds, Size, Stamp
from headrace_schemas.messages import TaskError

# --- facts of a host ------------------------------------------------------------------------------------------------


class Events(Message, tag="events", kw_only=True):
    """The events of one job on a host since the host's last batch."""

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
    """The first of these tasks or datasets by name, for people who watch. No service decides anything by it."""
    rejoining: bool = False
    """Whether these events are from before `epoch`: the host lost its lease, and lists what it still holds before it joins again under
    `epoch`. They count once the host has joined."""
    started: list[Id] = []
    """Tasks that have started since the last batch."""
    done: list[Id] = []
    """Tasks that succeeded, one by one."""
    done_attempts: list[Attempt] = []
    chains: list[ChainId] = []
    """Chains of which every task succeeded. An entry stands for a `done` of each task."""
    produced: list[Id] = []
    """Datasets that exist on this host from now on, outside a runner."""
    produced_attempts: list[Attempt] = []
    sizes: list[Size] = []
    """Per produced dataset: bytes."""
    value_ids: list[Id] = []
    """Requested outputs whose values are small enough to travel here."""
    values: list[bytes] = []
    metadata_ids: list[Id] = []
    """Produced datasets that were yielded with metadata."""
    metadata: list[dict[str, Any]] = []
    typed: list[Id] = []
    """Outputs among `produced` that are a single array."""
    dtypes: list[str] = []
    shapes: list[list[Size]] = []
    written: list[Written] = []
    """Outputs that were written to their sink under a temporary name. They are available once they are published."""
    copied: list[Id] = []
    """Datasets of other hosts of which this host has a copy from now on."""
    failed: list[TaskError] = []
    revoked: list[ChainId] = []
    """Chains that the host gave back before it started them."""
    kept: list[Id] = []
    """Datasets that a purge named, but that this host still needs."""
    gone: list[Id] = []
    """Datasets that this host no longer has, although others may think so: it dropped them, or lost them with a runner."""
    unreachable: list[str] = []
    """Hosts to which this one could not open a link for some seconds, though it needs data from them. The host repeats this while it lasts.
    """
    profile: list[FunctionProfile] = []
    memory_used: Size = 0
    """Bytes of the store in use when the batch was sent."""


class Written(Record, kw_only=True):
    """An output that a host has encoded and written to its sink, and that the publisher has yet to commit."""

    dataset: Id
    attempt: Attempt = 0
    write: str = ""
    """Identifies the write: the host's epoch, and what distinguishes the host's writes. Readers compute the names of the file from
    it, from the job's sink, and from the output's name and metadata."""
    part: str
    """For people: the temporary name of the file, beside `location`. No service reads the name from here."""
    location: str
    """For people: the final name of the file. No service reads the name from here."""
    bytes: Size
    checksum: str
    """"sha256:" and the hexadecimal digest of the file."""
    encoding: str
    """npy | npz | nc | parquet | arrow | pickle, or the format of a user's encoder."""
    dtype: str = ""
    """The dtype of an array; `shape` belongs to it."""
    shape: list[Size] | None = None


class FunctionProfile(Record, kw_only=True):
    """Durations of a function's tasks since the last batch, in seconds."""

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
    """The host that held it at the time; empty if its value travelled in an event, or if the client already had it."""
    bytes: Size = 0
    location: str = ""
    """Place of its file in a sink; empty for an output that hosts hold for the client."""
    checksum: str = ""
    """"sha256:" and the digest: of the file in a sink, or of a value that travelled in an event."""
    encoding: str = ""
    """Format of its file in a sink; empty for an output that hosts hold for the client."""
    dtype: str = ""
    """The dtype of an array; `shape` belongs to it."""
    shape: list[Size] | None = None


class NotCommitted(Record, kw_only=True):
    """An output that a host wrote but that could not be committed: its file is missing, or differs from what the host announced."""

    dataset: Id
    attempt: Attempt = 0
    error: str


class Published(Decision, tag="published", kw_only=True):
    """These outputs exist. Each output is announced once, and an output with a sink is available only by its announcement.

    Announcements of outputs in sinks, and of outputs that could not be committed, have a subject of their own, apart from outputs that
    hosts hold for the client.
    """

    job: str
    outputs: list[Output]
    failed: list[NotCommitted] = []

    def subject(self) -> str:
        """Return the subject for outputs in sinks, or the one for outputs that hosts hold."""
        return subjects.committed(self.job) if self.is_committed else subjects.output(self.job)

    @property
    def is_committed(self) -> bool:
        """Whether the announcement is about outputs in sinks. Raises ValueError if it is about no output, or about both kinds."""
        kinds = {bool(output.location) for output in self.outputs} | ({True} if self.failed else set())
        if len(kinds) != 1:
            raise ValueError("it announces outputs in sinks together with others" if kinds else "it announces nothing")
        return kinds.pop()
