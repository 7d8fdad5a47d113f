"""The settings of the publisher, each with its unit and the reason for its default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from headrace.bus.settings import LEADER_LEASE_SECONDS, read_lease
from headrace.sinks.allowed import VARIABLE as SINKS
from headrace.sinks.allowed import Allowed
from headrace.variables import read_settings
from headrace_schemas.streams import MAX_MESSAGE_BYTES


class FetchLimits(msgspec.Struct, kw_only=True, frozen=True):
    """The limits of the values that go through a publisher, to clients that cannot reach the hosts."""

    piece_bytes: int = 256 << 10
    """Size of one message: a quarter of what a server accepts by default, so that other messages do not wait long behind it."""
    pieces: int = 8
    """Pieces of a fetch that may wait for its client before the publisher pauses reading: enough to keep the client's requests answered."""
    fetches: int = 32
    """Fetches at a time, so that all of them take at most 128 MiB. Further ones wait for `queue_seconds`."""
    queue_seconds: float = 2.0
    """Time for which a fetch waits for its turn before its client is told to ask again. This is shorter than clients wait for an answer."""
    connect_seconds: float = 3.0
    """Time to reach a host, in the same network, that may be gone."""
    answer_seconds: float = 2.0
    """Time after which a request without data gets an empty answer, so that the client knows that the publisher is alive."""
    idle_seconds: float = 5.0
    """Time without a request after which a client counts as gone."""


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """The settings of a publisher."""

    VARIABLES: ClassVar[dict[str, str]] = {"lease_seconds": "HEADRACE_LEADER_LEASE", "allowed": SINKS}
    """The variable of each field that users set. Only tests set the others."""

    message_bytes: int = MAX_MESSAGE_BYTES
    """Approximate size up to which announcements share a message: the largest that readers accept."""
    rest_seconds: float = 0.02
    """Pause after each read of the log while no output goes to a sink. Nothing waits for the announcement of a value, and the pause lets
    the publisher handle many small jobs together."""
    sink_rest_seconds: float = 0.005
    """The same pause while outputs are written to sinks. It delays when their files appear."""
    linger_seconds: float = 0.05
    """Delay of announcements of outputs whose values are in the log, so that the publisher sends, and all readers read, those of many small
    jobs together."""
    lease_seconds: float = LEADER_LEASE_SECONDS
    """How long the leader leads without contact to NATS; see `bus.settings.LEADER_LEASE_SECONDS`. If a leader dies, announcements are
    delayed by this time; nothing else waits for it."""
    retry_seconds: float = 1.0
    """Pause before this process leads again, after the log refused an announcement: long enough not to be refused for the same reason."""
    commits: int = 16
    """Files that get their final names at the same time. Most of that time is spent waiting for a file system."""
    commits_of_job: int = 4
    """Files of one job that get their final names at the same time, so that other jobs have their turn."""
    slow_seconds: float = 1.0
    """Time after which an action no longer counts among `commits`: its file system may hang, and other jobs need not wait for it."""
    most_commits: int = 512
    """Files that get their final names at the same time, including slow ones: each has a thread."""
    commit_tries: int = 3
    """Attempts at a commit that a file system refuses. After the last one, the output is computed again."""
    commit_delay_seconds: float = 0.5
    """Pause between two attempts at a commit: network file systems need some tenths of a second to become consistent."""
    over_remembered: int = 1_000
    """Finished jobs whose late parts the publisher still removes, at most. It keeps their graphs for that, to compute the names of the
    parts."""
    datasets_remembered: int = 2_000_000
    """Datasets of those jobs together, at most, at some 100 bytes each."""
    late_seconds: float = 3_600.0
    """Time after the end of a job during which even a publisher that has just started removes the job's late parts. After that, its hosts
    know of the end."""
    allowed: Allowed = Allowed()
    """Where sinks may write. The publisher checks it before it renames or removes a file."""
    fetching: FetchLimits = FetchLimits()
    """See `FetchLimits`."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the variables of `VARIABLES`. Raises SettingsError, which names the variable, for an invalid list of folders or duration."""
        env = os.environ if env is None else env
        lease = read_lease(cls.VARIABLES["lease_seconds"], env, LEADER_LEASE_SECONDS)
        return read_settings(cls, env, lease_seconds=lease, allowed=Allowed.from_env(env))
