"""The settings of the publisher, each with its unit and the reason for its default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from headrace.bus.settings import LEADER_LEASE, read_lease
from headrace.sinks.allowed import VARIABLE as SINKS
from headrace.sinks.allowed import Allowed
from headrace.variables import read_settings
from headrace_schemas.streams import MAX_MESSAGE_BYTES


class FetchLimits(msgspec.Struct, kw_only=True, frozen=True):
    """The limits of the values that go through a publisher, to clients that cannot reach the hosts."""

    piece_bytes: int = 256 << 10
    """Size of one message: a quarter of what an unchanged server takes, so that nothing else waits long behind it."""
    pieces: int = 8
    """Pieces of a fetch that wait for its client before no more is read from the host: enough to keep the client's questions answered."""
    fetches: int = 32
    """Fetches at a time, so that all take 128 MiB; more wait for `queue_seconds`."""
    queue_seconds: float = 2.0
    """Time for which a fetch waits for its turn before its client is told to ask again: shorter than clients wait for an answer."""
    connect_seconds: float = 3.0
    """Time to reach a host, in the same network, that may be gone."""
    answer_seconds: float = 2.0
    """A question is answered with nothing after this time, so that the client knows that it is heard."""
    idle_seconds: float = 5.0
    """A client that has asked nothing for this time has gone."""


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """The settings of a publisher."""

    VARIABLES: ClassVar[dict[str, str]] = {"lease_seconds": "HEADRACE_LEADER_LEASE", "allowed": SINKS}
    """The variable of each field that users set. Only tests set the others."""

    message_bytes: int = MAX_MESSAGE_BYTES
    """Announcements are put together into messages of up to about this size: the largest that readers take."""
    rest_seconds: float = 0.02
    """Pause after each read of the log while no output goes to a sink. Nothing waits for the announcement of a value, and many small jobs
    are handled together."""
    sink_rest_seconds: float = 0.005
    """The same while outputs are written to sinks, where files appear later by this time."""
    linger_seconds: float = 0.05
    """Delay of announcements of outputs whose values are in the log, so that those of many small jobs are sent, and read by all others,
    together."""
    lease_seconds: float = LEADER_LEASE
    """How long the leader leads without contact to NATS; see `bus.settings.LEADER_LEASE`. After a leader died, outputs are announced later
    by this time; nothing else waits for it."""
    retry_seconds: float = 1.0
    """Pause before this process leads again, after the log refused an announcement: long enough not to be refused for the same reason."""
    commits: int = 16
    """Files that are given their final names at the same time. Most of that time is waiting for a file system."""
    commits_of_job: int = 4
    """The same of one job, so that others have their turn."""
    slow_seconds: float = 1.0
    """An action that takes longer is not counted among `commits`: its file system may hang, and others need not."""
    most_commits: int = 512
    """Files that are given their final names at the same time, slow ones included: each has a thread."""
    commit_tries: int = 3
    """Times that a commit which a file system refused is tried; after that, the output is made again."""
    commit_delay_seconds: float = 0.5
    """Pause between two tries of a commit: file systems in a network need some tenths of a second to agree."""
    allowed: Allowed = Allowed()
    """Where sinks may write. The publisher checks it before it renames or removes a file."""
    fetching: FetchLimits = FetchLimits()
    """See `FetchLimits`."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the variables of `VARIABLES`. Raises SettingsError, which names the variable, for an invalid list of folders or duration."""
        env = os.environ if env is None else env
        lease = read_lease(cls.VARIABLES["lease_seconds"], env, LEADER_LEASE)
        return read_settings(cls, env, lease_seconds=lease, allowed=Allowed.from_env(env))
