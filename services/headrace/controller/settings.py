"""Settings of the controller. Times in seconds."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from headrace.controller.state import Limits
from headrace.errors import SettingsError
from headrace.sinks.allowed import Allowed
from headrace.sizes import parse_duration


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """What the controller can be told.

    lease_ttl: how long after the end of this process another may lead. Hosts work through their windows meanwhile.
    linger: what nobody waits for is put off for so long, so that what comes of many small jobs is sent, and read by all others, together:
        ends of jobs whose results are all in the log, and that requests are done.
    rest: nothing is read for so long after each read: no result waits for the controller, and what comes of many small jobs is looked at
        together. That a job failed, or a host is lost, and that memory may go, is decided so much later.
    entry_delay: a change of a job's state is shown in the bucket `jobs` after so long; a job that lives shorter is written once.
    entry_interval: progress is shown there at most so often.
    forget_after: a job that is over, and of which nothing is held any more, stays in memory for so long, for late messages.
    output_expiry: outputs that no client fetched are held for so long after the job's end (HEADRACE_OUTPUT_EXPIRY): a day lets
        somebody come back for them, and a client that died fills no store for ever.
    host_grace: once a job is submitted, its tasks may need for so long what no living host has, before it fails (HEADRACE_HOST_GRACE): a
        host that restarts is back by then, for its lease runs 5 s, and its start takes one.
    allowed: where sinks may write (HEADRACE_SINKS). A job with another sink fails at once.
    limits: numbers that decisions depend on. A replay must use the same.
    """

    lease_ttl: float = 5.0
    linger: float = 0.05
    rest: float = 0.005
    entry_delay: float = 0.05
    entry_interval: float = 1.0
    forget_after: float = 10.0
    output_expiry: float = 86_400.0
    host_grace: float = 10.0
    allowed: Allowed = Allowed()
    limits: Limits = Limits()

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read HEADRACE_OUTPUT_EXPIRY (like 24h), HEADRACE_HOST_GRACE and HEADRACE_SINKS, the others being for tests.

        Raises SettingsError if one is no duration, or no list of folders.
        """
        env, defaults = os.environ if env is None else env, cls()
        return cls(
            output_expiry=_duration(env, "HEADRACE_OUTPUT_EXPIRY", defaults.output_expiry),
            host_grace=_duration(env, "HEADRACE_HOST_GRACE", defaults.host_grace),
            allowed=Allowed.from_env(env),
        )


def _duration(env: Mapping[str, str], name: str, otherwise: float) -> float:
    try:
        return parse_duration(text) if (text := env.get(name)) else otherwise
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None
