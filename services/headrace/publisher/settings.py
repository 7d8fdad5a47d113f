"""Settings of the publisher. Sizes in bytes, times in seconds."""

from __future__ import annotations

import os

import msgspec

from headrace.bus.settings import LEADER_LEASE, lease_seconds
from headrace.sinks.allowed import Allowed
from headrace_schemas.streams import MAX_MESSAGE_BYTES


class FetchLimits(msgspec.Struct, kw_only=True, frozen=True):
    """Limits of the values that go through the publisher. Sizes in bytes, times in seconds.

    piece_bytes: bytes of one message. A quarter of what a server accepts by default, so that other messages do not wait long behind it.
    pieces: pieces of a fetch that may wait for its client before the publisher pauses reading from the host. Enough to keep the client's
    requests answered.
    fetches: fetches at a time, so that all of them take at most 128 MiB. A further fetch waits for queue_seconds.
    connect_seconds: time to reach a host, in the same network, that may be gone.
    answer_seconds: time after which a request without data gets an empty answer, so that the client knows that the publisher is alive.
    idle_seconds: time without a request after which the publisher considers the client gone.
    """

    piece_bytes: int = 256 << 10
    pieces: int = 8
    fetches: int = 32
    queue_seconds: float = 2.0
    connect_seconds: float = 3.0
    answer_seconds: float = 2.0
    idle_seconds: float = 5.0


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """Settings of the publisher.

    message_bytes: approximate size up to which announcements share a message.
    rest: pause after each read of the log while no output goes to a sink. Nothing waits for the announcement of a value, and the pause lets
    the publisher handle many small jobs together.
    sink_rest: the same pause while outputs are written to sinks. It delays when they become available.
    linger: delay of announcements of outputs whose values are in the log, so that the publisher sends, and all readers read, those of many
    small jobs together.
    leader_lease: see `bus.settings.LEADER_LEASE` (HEADRACE_LEADER_LEASE). A takeover delays announcements by this time; nothing else waits
    for it.
    commits: files that get their final names at the same time. Most of that time is spent waiting for a file system. commits_of_job: those
    of one job, so that other jobs have their turn. An action that takes longer than slow_seconds does not count among `commits`, since its
    file system may hang and other jobs need not wait. most_commits: limit including such actions, because each has a thread.
    allowed: where sinks may write (HEADRACE_SINKS).
    commit_tries, commit_delay: how often, and with which pause, the publisher tries a commit that a file system refuses. After that the
    output is computed again.
    retry_delay: pause before leading again after the log refused an announcement.
    fetching: limits of the values that go through this process.
    """

    message_bytes: int = MAX_MESSAGE_BYTES
    rest: float = 0.02
    sink_rest: float = 0.005
    linger: float = 0.05
    leader_lease: float = LEADER_LEASE
    retry_delay: float = 1.0
    commits: int = 16
    commits_of_job: int = 4
    slow_seconds: float = 1.0
    most_commits: int = 512
    allowed: Allowed = Allowed()
    commit_tries: int = 3
    commit_delay: float = 0.5
    fetching: FetchLimits = FetchLimits()

    @classmethod
    def from_env(cls) -> Settings:
        """Read HEADRACE_SINKS and HEADRACE_LEADER_LEASE. Only tests set the others.

        Raises SettingsError for an invalid list of folders or duration.
        """
        return cls(allowed=Allowed.from_env(), leader_lease=lease_seconds("HEADRACE_LEADER_LEASE", os.environ, LEADER_LEASE))
