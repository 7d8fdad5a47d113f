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
    """Deaths of a task's runner (also for lack of memory) after which its job fails. A death or two may be an accident, or caused by
    another process; three are the task's own doing. An output that cannot be committed is written this number of times, too."""
    host_deaths: Annotated[int, msgspec.Meta(ge=1)] = 3
    """Hosts that may be lost while they run the same task; then its job fails. With fewer, a rack that loses its power twice would fail a
    job; with more, a task that brings its host down costs the cluster more hosts. `headrace replay --check` needs the same value."""
    unreachable: int = 5
    """Attempts of a task that could not fetch their inputs, after which its job fails. Each took at least five seconds: if none of five
    hosts finds a path, addresses are wrong, which the error says."""
    pause_seconds: float = 0.1
    """Longest pause before the first retry. A passing fault may be over by then, and a user who tries out retries hardly waits. It doubles
    with each retry."""
    longest_pause_seconds: float = 30.0
    """The longest pause before a retry: a service that a task needs may take that long to restart."""
    least_pause_share: float = 0.5
    """Smallest share of the longest pause. A hash decides on the rest, so that tasks that failed together are not retried together."""
    cut_seconds: float = 10.0
    """Time, by the log's clock, for which a host's report that it cannot reach a peer is believed. A host repeats the report about every
    three seconds."""
    fresh_host_seconds: float = 2.0
    """Time after a host joined within which reports that it cannot be reached are ignored. They are about its last epoch: no peer can have
    tried to reach the new one for long enough."""
    cut_peers: int = 2
    """Number of peers that a host must be cut off from to be declared lost, if there are that many."""
    ids_per_message: int = 40_000
    """The most task ids in a message: with 12 bytes of JSON each, the message stays below 512 KiB."""


class RoomSettings(msgspec.Struct, kw_only=True, frozen=True):
    """How full the log may become, and how often the controller checks it; see `room`.

    `usage.ADMIT_BELOW` is the share from which on no job is admitted. It is not a setting, because clients apply it too.
    """

    trim_from_share: float = 0.7
    """Share of the log from which on finished jobs are removed: early enough to leave room for running jobs."""
    trim_to_share: float = 0.6
    """Share of the log down to which finished jobs are removed: low enough that removal does not begin again at once."""
    end_from_share: float = 0.95
    """Share of the log from which on running jobs are ended. Hosts and services go on writing until they read of a job's end: some
    megabytes of a log of gigabytes."""
    settled_seconds: float = 60.0
    """Shortest time between a job's end and its removal: clients that wait for it have read of its end by then."""
    values_seconds: float = 600.0
    """The same for a job whose values are in the log, while no job is admitted: time for a client that was disconnected to come back."""
    removed_at_once: int = 200
    """Jobs that are removed between two checks. Each takes about three requests of 0.2 ms."""
    remembered: int = 1_000
    """Finished jobs that are remembered, with and without values in the log, of each kind. Each takes some hundred bytes."""
    remnants: int = 2_000
    """Finished jobs that are looked up at a time, the oldest first. Each done job takes two requests."""
    look_seconds: float = 1.0
    """Time between two checks of the log. A fast cluster takes a minute to fill a tenth of it."""
    look_closely_seconds: float = 0.25
    """Time between two checks while running jobs have to end."""
    look_round_seconds: float = 30.0
    """Time between two checks of the other streams, whose sizes only metrics show. Also the shortest time between two look-ups of
    finished jobs."""
    reserve_bytes: int = 256 << 10
    """Size of the message that is purged when the log is full: the ends of a few hundred jobs."""
    reserve_share: float = 1 / 64
    """Largest share of a small log that this message may take."""
    store_seconds: float = 2.0
    """Longest wait for that message to be stored. If the log has no room for it, the next check tries again."""


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """The settings of a controller."""

    VARIABLES: ClassVar[dict[str, str]] = {
        "lease_seconds": "HEADRACE_LEADER_LEASE",
        "output_expiry_seconds": "HEADRACE_OUTPUT_EXPIRY",
        "host_grace_seconds": "HEADRACE_HOST_GRACE",
        "no_hosts_grace_seconds": "HEADRACE_NO_HOSTS_GRACE",
        "allowed": SINKS,
    }
    """The environment variable of each field that users set. Only tests set the others."""

    lease_seconds: float = LEADER_LEASE_SECONDS
    """How long a controller, scheduler or publisher leads without contact to NATS, at least 1 s. A standby takes over that long after the
    last renewal, so 2 to 3 s after the leader died. A longer lease delays the takeover, but lets NATS pause for longer before leaders have
    to read the log again."""
    linger_seconds: float = 0.05
    """Delay of messages that no process waits for (the end of a job whose results are all in the log, the completion of requests), so that
    those of many small jobs are sent and read in batches."""
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
    """Time between two checks of finished jobs, and of jobs that no host can run. Both wait for much longer."""
    rejoin_seconds: float = 2.0
    """Time for which a new leader waits for hosts that are alive according to the log, and have no lease. A host takes 0.1 s to rejoin,
    and about 1 s on a busy machine. The loss of a host that did die is detected later by this time."""
    host_told_seconds: float = 6 * 3600.0
    """Time after which the controller repeats the `HostJoined` of a host that is alive. Hosts may live for longer than the week for which
    the log keeps messages. An operator may make that time shorter, but hardly shorter than a day."""
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
        """Read the settings from the variables in `VARIABLES` and `Limits.VARIABLES`.

        Raises SettingsError, which names the variable, for an invalid value.
        """
        env = os.environ if env is None else env
        return read_settings(
            cls,
            env,
            lease_seconds=read_lease(cls.VARIABLES["lease_seconds"], env, LEADER_LEASE_SECONDS),
            allowed=Allowed.from_env(env),
            limits=read_settings(Limits, env),
        )
