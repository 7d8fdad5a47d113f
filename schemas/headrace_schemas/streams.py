"""Every stream and bucket, with its limits and the reason for them. Sizes in bytes, times in seconds."""

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
    """A stream that this one copies from, and `source_filter`, which subjects."""
    source_filter: str = ""
    retention: str = "limits"
    discard: str = "old"
    max_bytes: int
    max_age: float = 0.0
    max_msgs_per_subject: int = -1
    duplicate_window: float = 120.0
    why: str


class BucketSpec(Record, kw_only=True):
    """A key-value bucket. `markers`: watchers see an expiry after at most so many seconds; 0: keys do not expire.

    discard: what a full bucket does: "new" refuses further entries, "old" removes the entries that were written longest ago. max_age: seconds
    after its last write at which an entry is removed; 0: never.
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
    why="What a client asks for waits here while no controller runs, and goes once it is in the log. Full: the client is told.",
)
LOG = StreamSpec(
    name="LOG",
    subjects=[*subjects.LOG_SUBJECTS, subjects.RESERVE],
    discard="new",
    max_bytes=4 * GiB,
    max_age=7 * DAY,
    why="The one order of every fact and decision. Discard new: a full log refuses work instead of forgetting it. A week of finished jobs, "
    "or less: the controller removes them where it has to make room.",
)
OUTPUTS = StreamSpec(
    name="OUTPUTS",
    source="LOG",
    source_filter=subjects.ALL_OUTPUTS,
    max_bytes=1 * GiB,
    max_age=90 * DAY,
    why="What was made outlives how it was made; the oldest go first.",
)
JOBS = BucketSpec(
    name="jobs",
    discard="old",
    max_bytes=64 * MiB,
    max_age=LOG.max_age,
    why="One small entry a job, for people and watchers; rebuilt from the log, and kept as long. Full, at about 260,000 jobs, it drops those "
    "whose entries were written longest ago.",
)
HOSTS = BucketSpec(
    name="hosts", max_bytes=16 * MiB, markers=1.0, why="A host's lease expires by itself, and the controller sees it expire."
)
LEASES = BucketSpec(name="leases", max_bytes=1 * MiB, markers=1.0, why="One leader a service; the revision fences off the one before.")
SNAPSHOTS = BucketSpec(
    name="snapshots", max_bytes=16 * MiB, why="One a service: what of the log it reads when it starts. Without it, it reads all."
)
SECRETS = BucketSpec(name="secrets", max_bytes=1 * MiB, why="The key of the data plane, for hosts and clients; a viewer has no access.")
DATA_KEY = "dataplane"
"""Key of the bucket `secrets`: what hosts and clients prove to one another that they know, as hexadecimal digits."""
GRAPHS = ObjectStoreSpec(
    name="graphs", max_bytes=2 * GiB, ttl=7 * DAY, why="Graphs too large for a message, as long as the log that names them."
)

STREAMS = [REQUESTS, LOG, OUTPUTS]
BUCKETS = [JOBS, HOSTS, LEASES, SNAPSHOTS, SECRETS]
OBJECT_STORES = [GRAPHS]

INLINE_VALUE_BYTES = 8 * 1024
"""A result up to this size travels in the event that reports it."""
INLINE_GRAPH_BYTES = 256 * 1024
"""A graph whose JSON is up to this size travels in its messages; a larger one through the object store, where every
service that reads it spends some 10 ms more. Half of `MAX_MESSAGE_BYTES`: an assignment has as much again beside it."""
MAX_MESSAGE_BYTES = 512 * 1024
"""No message is made larger than about this: half of what an unchanged server takes."""
