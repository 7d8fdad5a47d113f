"""Settings of the bus: where the server is, who we are to it, and how long we wait for it. Times in seconds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from headrace.errors import SettingsError
from headrace.text import redacted
from headrace.variables import read_settings

ACK_TIMEOUT = 2.0
"""A publish or request without an answer for so long is sent again. A file-store acknowledgement takes well under a millisecond, one
from a busy machine some tens; the answer to a resend costs one message, so this need not be larger."""
TICK = 0.25
"""How often unanswered publishes and silent feeds are looked at. Bounds how late a retry is; costs four timer calls a second."""
IDLE_TICK = 1.0
"""The same where nothing was sent that is unanswered, and nothing is followed: on the connection by which leases are renewed."""
HEARTBEAT = 1.0
"""Idle heartbeat that a feed asks the server for."""
MISSED_HEARTBEATS = 3
"""A feed that heard nothing for so many heartbeats is opened anew."""
INACTIVE = 5.0
"""The server forgets a feed's consumer that nobody listens to for so long."""
REOPEN_DELAY = 0.25
"""Pause before a feed that could not be opened is tried again, e.g. while a stream has no leader. Doubles with each failure."""
LONGEST_REOPEN_DELAY = 30.0
"""The longest such pause, and the longest silence of a feed: a server that is overloaded needs time, and gets it."""
FORGIVE_FAILURES = 60.0
"""A feed that had no trouble for so long is opened again without a pause the next time."""
RECONNECT_WAIT = 0.1
"""Pause between attempts to reconnect. Hosts work through their windows meanwhile; a restarted server is up in tens of milliseconds."""
PING_INTERVAL = 10.0
"""A connection that died without a word is noticed after two of these."""
API_TIMEOUT = 10.0
"""How long a JetStream request (stream, consumer, key) may take altogether, resends included."""


_SECRETS = ("token", "password")
"""Fields that can come from a file, and are not shown."""


class BusSettings(msgspec.Struct, kw_only=True, frozen=True):
    """Where NATS is and how to log in: a token, or a user and a password, or a credentials file, or none.

    url: one, or several separated by commas. ca: file of the certificate authority, for a server with TLS of one's own.
    connect_timeout: seconds to keep trying the first connection; afterwards reconnection is tried for ever.
    inbox_prefix: under which replies and feeds arrive; a role with least permissions has one of its own.
    replicas: of the streams that `ensure_streams` makes; 3 or 5 on a cluster.
    metrics: address and port at which a service answers /metrics and /healthz over HTTP; empty: it does not.
    """

    url: str = "nats://127.0.0.1:4222"
    token: str = ""
    user: str = ""
    password: str = ""
    creds: str = ""
    ca: str = ""
    connect_timeout: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    inbox_prefix: str = "_INBOX"
    replicas: Annotated[int, msgspec.Meta(ge=1)] = 1
    metrics: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> BusSettings:
        """Read HEADRACE_URL, _TOKEN, _USER, _PASSWORD, _CREDS, _CA, _CONNECT_TIMEOUT, _INBOX_PREFIX, _REPLICAS and _METRICS.

        Where HEADRACE_TOKEN or _PASSWORD is not set, it is what the file in HEADRACE_TOKEN_FILE or _PASSWORD_FILE holds.

        Raises SettingsError naming the variable if a number is none, or a file cannot be read.
        """
        env = os.environ if env is None else env
        found = read_settings(cls, cls.__struct_fields__, env)
        secrets = {name: secret for name in _SECRETS if not getattr(found, name) and (secret := _from_file(name, env))}
        return msgspec.structs.replace(found, **secrets) if secrets else found

    @property
    def shown_url(self) -> str:
        """The url for messages: without a user and a password."""
        return redacted(self.url)

    def __repr__(self) -> str:
        shown = {name: "***" if name in _SECRETS else redacted(value) if name == "url" else value for name, value in self._given()}
        return f"BusSettings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def _given(self) -> list[tuple[str, Any]]:
        """The fields that are not empty."""
        return [(name, getattr(self, name)) for name in self.__struct_fields__ if getattr(self, name) != ""]

    def to_env(self) -> dict[str, str]:
        """The same as variables, for a child process."""
        return {f"HEADRACE_{name.upper()}": str(value) for name, value in self._given()}


def _from_file(name: str, env: Mapping[str, str]) -> str:
    """The secret in the file that a variable names; empty if it names none."""
    variable = f"HEADRACE_{name.upper()}_FILE"
    path = env.get(variable, "")
    if not path:
        return ""
    try:
        secret = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable} is {path!r}, which cannot be read: {error}") from None
    if not secret:
        raise SettingsError(f"{variable} is {path!r}, which is empty: write the {name} into it")
    return secret
