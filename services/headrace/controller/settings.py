"""The settings of the controller, each with its unit and the reason for its default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec

from headrace.bus.settings import LEADER_LEASE, read_lease
from headrace.sinks.allowed import VARIABLE as SINKS
from headrace.sinks.allowed import Allowed
from headrace.variables import read_settings


class Limits(msgspec.Struct, kw_only=True, frozen=True):
    """The limits that decisions depend on. A replay must use those of the controller that wrote the log."""

    VARIABLES: ClassVar[dict[str, str]] = {"host_deaths": "HEADRACE_HOST_DEATHS"}

    deaths: int = 3
    """Deaths of its runner (also for lack of memory) after which a task is given up and its job fails. Some deaths are an accident or a
    neighbour's doing; three are the task's own. An output that cannot be committed is written this number of times, too."""
    host_deaths: Annotated[int, msgspec.Meta(ge=1)] = 3
    """Hosts that may be lost while they run the same task; then its job fails. With fewer, a rack that loses its power twice would fail a
    job; with more, a task that brings its host down costs the cluster more hosts. `headrace replay --check` needs the same value."""
    ids_per_message: int = 40_000
    """The most task ids in a message: with 12 bytes of JSON each, the message keeps below its 512 KiB."""


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """The settings of a controller."""

    VARIABLES: ClassVar[dict[str, str]] = {
        "lease_seconds": "HEADRACE_LEADER_LEASE",
        "output_expiry_seconds": "HEADRACE_OUTPUT_EXPIRY",
        "host_grace_seconds": "HEADRACE_HOST_GRACE",
        "no_hosts_grace_seconds": "HEADRACE_NO_HOSTS_GRACE",
        "allowed": SINKS,
    }
    """The variable of each field that users set. Only tests set the others."""

    lease_seconds: float = LEADER_LEASE
    """How long a controller, scheduler or publisher leads without contact to NATS, at least 1 s. A standby takes over that long after the
    last renewal, so 2 to 3 s after the leader died. A longer lease delays the takeover, but lets NATS pause for longer before leaders have
    to read the log again."""
    linger_seconds: float = 0.05
    """Delay of messages that nobody waits for (the end of a job whose results are all in the log, the completion of requests), so that
    those of many small jobs are sent, and read by all others, together."""
    rest_seconds: float = 0.005
    """Pause after each read of the log, so that messages of many small jobs are handled together. No result waits for the controller; only
    decisions about failed jobs, lost hosts and memory to free are later by this time."""
    entry_delay_seconds: float = 0.05
    """Delay until a job's new state is written to the bucket `jobs`: a job that ends within it is written only once."""
    entry_interval_seconds: float = 1.0
    """Shortest time between two updates of a job's progress in that bucket: often enough for people who watch, and few writes."""
    forget_seconds: float = 10.0
    """Time for which a job stays in memory after it is over and no host holds any of its data: late messages about it arrive until then."""
    output_expiry_seconds: float = 86_400.0
    """How long hosts hold outputs that no client fetched, after the job's end. In a day, users can come back for them, and a client that
    died does not fill a store for ever."""
    host_grace_seconds: float = 10.0
    """How long a running job's tasks may need resources that no living host has, before the job fails. A host that restarts is back by
    then: its lease runs out after 5 s, and its start takes one."""
    no_hosts_grace_seconds: float = 600.0
    """How long a job waits while the cluster has no host, before it fails. Long enough to start workers after jobs were submitted, or to
    start all machines again; short enough that nobody waits over night for a cluster without workers."""
    allowed: Allowed = Allowed()
    """Folders and URLs below which sinks may write, like `/data/products,s3://bucket/prefix`; without any, sinks may write anywhere. Give
    the same to controller, publisher and workers."""
    limits: Limits = Limits()
    """See `Limits`."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the variables of `VARIABLES` and `Limits.VARIABLES`. Raises SettingsError, which names the variable, for an invalid
        value."""
        env = os.environ if env is None else env
        return read_settings(
            cls,
            env,
            lease_seconds=read_lease(cls.VARIABLES["lease_seconds"], env, LEADER_LEASE),
            allowed=Allowed.from_env(env),
            limits=read_settings(Limits, env),
        )
