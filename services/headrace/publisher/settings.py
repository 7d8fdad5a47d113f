"""Settings of the publisher. Sizes in bytes, times in seconds."""

from __future__ import annotations

import os

import msgspec

from headrace.bus.settings import LEADER_LEASE, lease_seconds
from headrace.sinks.allowed import Allowed
from headrace_schemas.streams import MAX_MESSAGE_BYTES


class FetchLimits(msgspec.Struct, kw_only=True, frozen=True):
    """What values may take that go through the publisher. Sizes in bytes, times in seconds.

    piece_bytes: of one message: a quarter of what an unchanged server takes, so that nothing else waits long behind it.
    pieces: of a fetch that wait for its client, before no more is read from the host: enough to keep the client's questions answered.
    fetches: at a time, so that all take 128 MiB; more wait for queue_seconds.
    connect_seconds: to reach a host, in the same network, that may be gone.
    answer_seconds: after which a question is answered with nothing, so that its asker knows that it is heard.
    idle_seconds: without a question, after which the client has gone.
    """

    piece_bytes: int = 256 << 10
    pieces: int = 8
    fetches: int = 32
    queue_seconds: float = 2.0
    connect_seconds: float = 3.0
    answer_seconds: float = 2.0
    idle_seconds: float = 5.0


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """What the publisher can be told.

    message_bytes: announcements are put together into messages of up to about this size.
    rest: pause after each read of the log while no output goes to a sink. Nothing waits for the announcement of a value, and many small
        jobs are handled together.
    sink_rest: the same while outputs are written to sinks, where they appear so much later.
    linger: delay of announcements of outputs whose values are in the log, so that those of many small jobs are sent, and read by all
        others, together.
    leader_lease: see `bus.settings.LEADER_LEASE` (HEADRACE_LEADER_LEASE). Outputs are announced so much later, nothing else waits for it.
    commits: files that are given their final names at the same time. Most of it is waiting for a file system. commits_of_job: of one job,
        so that others have their turn. An action that takes longer than slow_seconds is not counted among `commits`: its file system may
        hang, and others need not. most_commits: with those, for each has a thread.
    allowed: where sinks may write (HEADRACE_SINKS).
    commit_tries, commit_delay: so often, and so long after one another, a commit is tried that a file system refused: after that the
        output is made again.
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
