"""Settings of the bus: address of the server, login and timeouts. Times in seconds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec

from headrace.errors import SettingsError
from headrace.text import redacted
from headrace.variables import duration, read_settings


class Times(msgspec.Struct, kw_only=True, frozen=True):
    """The times for which connections, feeds and messages of a process wait."""

    ack_seconds: float = 2.0
    """Seconds after which an unanswered publish or request is resent. A server answers in well under a millisecond, a busy one in some tens
    of milliseconds. Resending costs one message, so this need not be larger."""
    tick_seconds: float = 0.25
    """Seconds between checks of unanswered publishes and silent feeds. It bounds how late a retry is, and costs four timer calls a
    second."""
    idle_tick_seconds: float = 1.0
    """Seconds between checks on a connection without unanswered publishes and feeds, like the one that renews leases."""
    heartbeat_seconds: float = 1.0
    """Seconds between idle heartbeats, which a feed requests from the server."""
    missed_heartbeats: int = 3
    """Missed heartbeats after which a feed is opened again."""
    create_seconds: float = 4.0
    """Seconds after which a feed requests another consumer, if the server has not made the first one. A cluster may have assigned it to a
    server that has just died, and then answers nothing until that server is back."""
    inactive_seconds: float = 5.0
    """Seconds without a listener after which the server removes a feed's consumer."""
    reopen_seconds: float = 0.25
    """Seconds before another attempt to open a feed, for example while its stream has no leader. The pause doubles with each failure."""
    longest_reopen_seconds: float = 30.0
    """Longest such pause in seconds, and the longest silence of a feed: it gives an overloaded server time."""
    forgive_seconds: float = 60.0
    """Seconds for which a feed must work to be opened again without a pause."""
    attempt_seconds: int = 2
    """Seconds for one attempt to connect, and for the answer to each step of it."""
    reconnect_seconds: float = 0.1
    """Seconds between attempts to reconnect. Hosts work through their windows meanwhile; a restarted server is up in tens of
    milliseconds."""
    ping_seconds: float = 10.0
    """Seconds between PINGs of nats-py. If a connection dies while nothing is sent on it and no feed is open, this is noticed after two or
    three of them."""
    ping_after_seconds: float = 1.0
    """Seconds after which the server gets a PING, if something is unanswered and no answer comes, or if a feed's heartbeat is late by half
    of `heartbeat_seconds`."""
    pong_seconds: float = 2.5
    """Seconds after which a connection is considered dead, if the PING is not answered. This is longer than a disk usually delays a server,
    but short enough that a dead connection is replaced within 5 seconds."""
    store_seconds: float = 3.0
    """Seconds without an answer to a message, while NATS answers PINGs, after which NATS is considered to store nothing. Status, metrics
    and errors report that."""
    lease_share: float = 0.5
    """Share of `ping_after_seconds`, `pong_seconds` and `store_seconds` for the connection that renews leases, which has to be replaced
    before they expire."""
    api_seconds: float = 10.0
    """Longest time in seconds for a JetStream request (stream, consumer, key), including resends."""


TIMES = Times()
"""The times of this process."""


LEADER_LEASE_SECONDS = 2.0
"""Seconds for which a controller, scheduler or publisher leads without contact to NATS. A standby takes over that long after the last
renewal, so in 2 to 3 s. If NATS pauses for longer, a leader stops and reads the log again, which costs its jobs a second, but no data."""
HOST_LEASE_SECONDS = 5.0
"""Seconds for which a host counts as alive without contact to NATS. The loss of a host that dies is noticed this much later. A host that
pauses for longer joins again, and the tasks that it was running start again: this costs more than a new leader, so it takes longer."""
SHORTEST_LEASE_SECONDS = 1.0
"""Shortest lease in seconds: NATS counts in seconds."""


class SecretFiles(msgspec.Struct, kw_only=True, frozen=True):
    """Files that hold secrets: they show neither in the process list nor in the environment."""

    VARIABLES: ClassVar[dict[str, str]] = {"token": "HEADRACE_TOKEN_FILE", "password": "HEADRACE_PASSWORD_FILE"}

    token: str = ""
    """File that holds the token, read if HEADRACE_TOKEN is not set. Other users of the machine do not see it, as they see flags."""
    password: str = ""
    """File that holds the password, read if HEADRACE_PASSWORD is not set."""


class BusSettings(msgspec.Struct, kw_only=True, frozen=True):
    """The address of NATS, and the credentials: a token, or a user and a password, or a credentials file, or none."""

    VARIABLES: ClassVar[dict[str, str]] = {
        "url": "HEADRACE_URL",
        "token": "HEADRACE_TOKEN",
        "user": "HEADRACE_USER",
        "password": "HEADRACE_PASSWORD",
        "creds": "HEADRACE_CREDS",
        "ca": "HEADRACE_CA",
        "connect_seconds": "HEADRACE_CONNECT_TIMEOUT",
        "inbox_prefix": "HEADRACE_INBOX_PREFIX",
        "replicas": "HEADRACE_REPLICAS",
        "metrics": "HEADRACE_METRICS",
    }
    """The variable of each field."""

    url: str = "nats://127.0.0.1:4222"
    """Address of the NATS server, like `nats://hub:4222`, or several separated by commas. The default is a server on this machine."""
    token: str = ""
    """Token to log in with. Every holder of the token can submit jobs, and jobs run any code."""
    user: str = ""
    """User to log in as, with HEADRACE_PASSWORD: for a server that gives each service its own permissions."""
    password: str = ""
    """Password of the user."""
    creds: str = ""
    """File with NATS credentials, for a server with accounts."""
    ca: str = ""
    """File of your own certificate authority. If it is set, or the address begins with `tls://`, Headrace sends nothing to a server without
    TLS."""
    connect_seconds: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    """Seconds for the first connection: longer than a restart of the server takes. A lost connection is retried without limit."""
    inbox_prefix: str = "_INBOX"
    """Prefix of the subjects for replies and feeds. A role with least permissions has its own, so that others cannot read its replies."""
    replicas: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Replicas of the streams that Headrace creates: 3 in a cluster of three NATS servers, any one of which may die."""
    metrics: str = ""
    """Address and port at which a service answers `/metrics` and `/healthz` over HTTP, like `0.0.0.0:9464`; port 0 takes a free one. By
    default it does not, since it would answer everybody who reaches the port."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> BusSettings:
        """Read the variables of `VARIABLES`. If the token or the password is not set, read it from its file, if `SecretFiles` names one.

        Raises SettingsError, which names the variable, for an invalid number, and for a file that cannot be read.
        """
        env = os.environ if env is None else env
        found, files = read_settings(cls, env), read_settings(SecretFiles, env)
        names = [name for name in _SECRETS if getattr(files, name) and not getattr(found, name)]
        secrets = {name: _from_file(SecretFiles.VARIABLES[name], getattr(files, name), name) for name in names}
        return msgspec.structs.replace(found, **secrets)

    @property
    def shown_url(self) -> str:
        """The url without user and password, for messages."""
        return redacted(self.url)

    def __repr__(self) -> str:
        shown = {name: "***" if name in _SECRETS else redacted(value) if name == "url" else value for name, value in self._given()}
        return f"BusSettings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def _given(self) -> list[tuple[str, Any]]:
        """Return the fields that are not empty."""
        return [(name, getattr(self, name)) for name in self.__struct_fields__ if getattr(self, name) != ""]

    def to_env(self) -> dict[str, str]:
        """Return the settings as variables, for a child process."""
        return {self.VARIABLES[name]: str(value) for name, value in self._given()}


_SECRETS = SecretFiles.__struct_fields__
"""Fields that can be read from a file, and are never shown."""


def _from_file(variable: str, path: str, name: str) -> str:
    """Return the secret in the file that a variable names."""
    try:
        secret = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable} is {path!r}, which cannot be read: {error}") from None
    if not secret:
        raise SettingsError(f"{variable} is {path!r}, which is empty: write the {name} into it")
    return secret


def read_lease(variable: str, env: Mapping[str, str], otherwise: float) -> float:
    """Read the seconds that a lease lasts from a variable; return `otherwise` if it is not set.

    Raises SettingsError, which names the variable, for less than `SHORTEST_LEASE_SECONDS`, and for a value that is no duration.
    """
    seconds = duration(variable, env) if env.get(variable) else otherwise
    if seconds < SHORTEST_LEASE_SECONDS:
        raise SettingsError(f"{variable} is {seconds:g} s: give at least {SHORTEST_LEASE_SECONDS:g} s")
    return seconds
