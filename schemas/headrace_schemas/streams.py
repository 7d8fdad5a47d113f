"""Every stream and bucket, with its limits and the reasons for them. Sizes are in bytes, times in seconds."""

from __future__ import annotations

from headrace_schemas import subjects
from headrace_schemas.base import Record

MiB = 1 << 20
GiB = 1 << 30
DAY = 86_400.0


class StreamSpec(Record, kw_only=True):
    """A JetStream stream. `why` gives the reason for its limits."""

    name: str
    subjects: list[str] = []
    source: str = ""
    """The stream that this one copies from. `source_filter`: the subjects that it copies."""
    source_filter: str = ""
    retention: str = "limits"
    discard: str = "old"
    max_bytes: int
    max_age: float = 0.0
    max_msgs_per_subject: int = -1
    duplicate_window: float = 120.0
    why: str


class BucketSpec(Record, kw_only=True):
    """A key-value bucket. markers: seconds within which watchers see that a key has expired; 0: keys do not expire.

    discard: behaviour of a full bucket: "new" refuses further entries, "old" removes the entries that were written longest ago. max_age:
    seconds after its last write at which an entry is removed; 0: never.
    """

    name: str
    history: int = 1
    discard: str = "new"
    max_bytes: int
    max_age: float = 0.0
    markers: float = 0.0
    why: str


class ObjectStoreSpec(Record, kw_only=True):
    """An object-store bucket."""

    name: str
    max_bytes: int
    ttl: float
    why: str


REQUESTS = StreamSpec(
    name="REQUESTS",
    subjects=[subjects.ALL_REQUESTS],
    retention="workqueue",
    discard="new",
    max_bytes=256 * MiB,
    max_age=DAY,
    why="Requests of clients wait here until a controller has written them to the log. If the stream is full, the client gets an error.",
)
LOG = StreamSpec(
    name="LOG",
    subjects=[*subjects.LOG_SUBJECTS, subjects.RESERVE],
    discard="new",
    max_bytes=4 * GiB,
    max_age=7 * DAY,
    why="Every fact and decision, in one order. Discard new: a full log refuses work instead of forgetting it. It keeps finished jobs for a week, "
    "or less: the controller removes them when it has to make room.",
)
OUTPUTS = StreamSpec(
    name="OUTPUTS",
    source="LOG",
    source_filter=subjects.ALL_OUTPUTS,
    max_bytes=1 * GiB,
    max_age=90 * DAY,
    why="Announcements of outputs outlive the log of their jobs. A full stream removes the oldest.",
)
JOBS = BucketSpec(
    name="jobs",
    discard="old",
    max_bytes=64 * MiB,
    max_age=LOG.max_age,
    why="One small entry per job, for people and watchers, kept as long as the log. A full bucket, at about 260,000 jobs, drops the jobs "
    "whose entries were written longest ago.",
)
HOSTS = BucketSpec(
    name="hosts", max_bytes=16 * MiB, markers=1.0, why="The lease of each host. A lease expires by itself, and the controller sees that."
)
LEASES = BucketSpec(
    name="leases", max_bytes=1 * MiB, markers=1.0, why="The leader of each service. The revision fences off the leader before."
)
SNAPSHOTS = BucketSpec(
    name="snapshots",
    max_bytes=16 * MiB,
    why="One per service: the parts of the log to read at its start. Without it, a service reads the whole log.",
)
SECRETS = BucketSpec(name="secrets", max_bytes=1 * MiB, why="The key of the data plane, for hosts and clients; a viewer has no access.")
DATA_KEY = "dataplane"
"""Key of the bucket `secrets`. Its value is the secret that hosts and clients prove to one another that they know, as hexadecimal digits.
"""
GRAPHS = ObjectStoreSpec(
    name="graphs", max_bytes=2 * GiB, ttl=7 * DAY, why="Graphs too large for a message, kept as long as the log that names them."
)

STREAMS = [REQUESTS, LOG, OUTPUTS]
BUCKETS = [JOBS, HOSTS, LEASES, SNAPSHOTS, SECRETS]
OBJECT_STORES = [GRAPHS]

INLINE_VALUE_BYTES = 8 * 1024
"""A result up to this size travels in the event that reports it."""
INLINE_GRAPH_BYTES = 256 * 1024
"""A graph whose JSON is up to this size travels in its messages. A larger graph travels through the object store, from where each service
takes some 10 ms longer to read it. This is half of `MAX_MESSAGE_BYTES`, since the other fields of an assignment may take as much again."""
MAX_MESSAGE_BYTES = 512 * 1024
"""Largest message that services create, approximately: half of what a server accepts by default."""
