"""The settings of the controller, each with its unit and the reason for its default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec

from headrace.bus.settings import LEADER_LEASE_SECONDS, read_lease
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
    unreachable: int = 5
    """Attempts of a task that could not have their inputs, after which the job fails. Each took its host five seconds at least: where no
    path is found for so long, addresses are wrong, which the error says."""
    pause_seconds: float = 0.1
    """Pause before the first retry, at most: what fails by accident may have gone by then, and a user who tries out retries does not wait
    for it. It doubles with each retry."""
    longest_pause_seconds: float = 30.0
    """The longest pause before a retry: a service that a task needs may take that long to restart."""
    least_pause_share: float = 0.5
    """Share of a pause that is always waited for. The rest depends on a hash, so that tasks that failed together are not tried again
    together."""
    cut_seconds: float = 10.0
    """Time, by the log's clock, for which it counts that a host cannot reach another one: a host says it again about every three
    seconds."""
    fresh_host_seconds: float = 2.0
    """What is said of a host within this time after it joined is about its last epoch: nobody can have tried to reach this one for that
    long."""
    cut_peers: int = 2
    """Hosts that a host must have lost touch with for the cluster to go on without it, where there are as many."""
    ids_per_message: int = 40_000
    """The most task ids in a message: with 12 bytes of JSON each, the message keeps below its 512 KiB."""


class RoomSettings(msgspec.Struct, kw_only=True, frozen=True):
    """How full the log may be, and how it is looked at; see `room`. From `usage.ADMIT_BELOW`, which clients know as well, no job is
    admitted."""

    trim_from_share: float = 0.7
    """Share of the log from which jobs that are over are removed: early enough that running jobs find room."""
    trim_to_share: float = 0.6
    """Share of the log down to which they are removed: far enough below that removing does not begin again at once."""
    end_from_share: float = 0.95
    """Share of the log from which running jobs are ended. Hosts and services go on writing until they read of the end of a job: some
    megabytes, where the log holds gigabytes."""
    settled_seconds: float = 60.0
    """A job that ended is removed after this time at the earliest: whoever waited for it has read how it ended."""
    values_seconds: float = 600.0
    """The same for a job whose values are in the log, while no job is admitted: time for a client that was disconnected to come back."""
    removed_at_once: int = 200
    """Jobs that are removed between two looks: each takes some three requests of 0.2 ms."""
    remembered: int = 1_000
    """Jobs that are over and remembered, of those with values in the log, and of those without: some hundred bytes each."""
    remnants: int = 2_000
    """Jobs that are looked up at a time, those that ended first: two requests each for those that are done."""
    look_seconds: float = 1.0
    """Time between looks at the log. It takes a fast cluster a minute to fill a tenth of it."""
    look_closely_seconds: float = 0.25
    """Time between looks while jobs have to end."""
    look_round_seconds: float = 30.0
    """Time between looks at all other streams, which only metrics show; and at least between two times that jobs are looked up."""
    reserve_bytes: int = 256 << 10
    """Size of the message that is purged when the log is full: the ends of a few hundred jobs."""
    reserve_share: float = 1 / 64
    """Share of the log that this message may take, where the log is small."""
    store_seconds: float = 2.0
    """Time for that message to be stored. A log that has no room for it is looked at again."""


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

    lease_seconds: float = LEADER_LEASE_SECONDS
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
    entries_close_seconds: float = 1.0
    """Time for the last updates of that bucket to be stored when a controller stops leading. The next leader makes them again from the
    log."""
    single_entries: int = 500
    """Jobs whose entries in that bucket are read one by one. To read those of more, the whole bucket is read."""
    tick_seconds: float = 1.0
    """Time between looks at jobs that are over, and at those that no host can run: they wait for much longer."""
    rejoin_seconds: float = 2.0
    """Time for which a new leader waits for hosts that are alive according to the log, and have no lease. A host takes 0.1 s to join again,
    and about 1 s on a busy machine; hosts that did die meanwhile are known to be lost this much later."""
    host_told_seconds: float = 6 * 3600.0
    """Time after which the log says again that a host at work joined. The log keeps messages for a week, and hosts live for longer. An
    operator may have the log keep less than a week, but hardly less than a day."""
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
    room: RoomSettings = RoomSettings()
    """See `RoomSettings`."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the variables of `VARIABLES` and `Limits.VARIABLES`. Raises SettingsError, which names the variable, for an invalid
        value."""
        env = os.environ if env is None else env
        return read_settings(
            cls,
            env,
            lease_seconds=read_lease(cls.VARIABLES["lease_seconds"], env, LEADER_LEASE_SECONDS),
            allowed=Allowed.from_env(env),
            limits=read_settings(Limits, env),
        )
