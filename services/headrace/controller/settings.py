"""Settings of the controller. Times in seconds."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from headrace.bus.settings import LEADER_LEASE, lease_seconds
from headrace.controller.state import Limits
from headrace.sinks.allowed import Allowed
from headrace.variables import duration, read_settings


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """The controller's settings.

    leader_lease: see `bus.settings.LEADER_LEASE` (HEADRACE_LEADER_LEASE).
    linger: delay of messages that nobody waits for, so that those of many small jobs are sent, and read by all others, together: the end of
        a job whose results are all in the log, and the completion of requests.
    rest: pause after each read of the log, so that messages of many small jobs are handled together. No result waits for the controller;
    only
        decisions about failed jobs, lost hosts and memory to free are later by this time.
    entry_delay: delay until a job's new state is written to the bucket `jobs`; a job that ends within it is written only once.
    entry_interval: shortest time between two updates of a job's progress there.
    forget_after: how long a job stays in memory for late messages, after it is over and no host holds anything of it.
    output_expiry: how long hosts hold outputs that no client fetched, after the job's end (HEADRACE_OUTPUT_EXPIRY). In a day, users can
        come back for them, and a client that died does not fill a store for ever.
    host_grace: how long a running job's tasks may need resources that no living host has, before the job fails (HEADRACE_HOST_GRACE). A
        host that restarts is back by then: its lease runs out after 5 s, and its start takes one.
    no_hosts_grace: how long a job waits where no host lives at all, before it fails (HEADRACE_NO_HOSTS_GRACE). Long enough to start workers
        after jobs were submitted, or to start all machines again; short enough that nobody waits over night for a cluster without workers.
    allowed: where sinks may write (HEADRACE_SINKS). A job with another sink fails at once.
    limits: numbers that decisions depend on. A replay must use the same ones.
    """

    leader_lease: float = LEADER_LEASE
    linger: float = 0.05
    rest: float = 0.005
    entry_delay: float = 0.05
    entry_interval: float = 1.0
    forget_after: float = 10.0
    output_expiry: float = 86_400.0
    host_grace: float = 10.0
    no_hosts_grace: float = 600.0
    allowed: Allowed = Allowed()
    limits: Limits = Limits()

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read HEADRACE_OUTPUT_EXPIRY (like 24h), _HOST_GRACE, _NO_HOSTS_GRACE, _LEADER_LEASE, _HOST_DEATHS and _SINKS. Only tests set the
        others.

        Raises SettingsError for an invalid duration, number or list of folders.
        """
        env, defaults = os.environ if env is None else env, cls()
        return cls(
            leader_lease=lease_seconds("HEADRACE_LEADER_LEASE", env, LEADER_LEASE),
            output_expiry=duration("HEADRACE_OUTPUT_EXPIRY", env, defaults.output_expiry),
            host_grace=duration("HEADRACE_HOST_GRACE", env, defaults.host_grace),
            no_hosts_grace=duration("HEADRACE_NO_HOSTS_GRACE", env, defaults.no_hosts_grace),
            allowed=Allowed.from_env(env),
            limits=read_settings(Limits, ["host_deaths"], env),
        )
