"""The options of nats-py, from our settings."""

from __future__ import annotations

import importlib.util
import ssl
from pathlib import Path
from typing import Any

from headrace.bus.settings import TIMES, BusSettings
from headrace.errors import NatsUnreachable, SettingsError, WrongCredentials


def options(settings: BusSettings, name: str) -> dict[str, Any]:
    """Return the options of nats-py for a connection with this name.

    It never stops reconnecting, notices a dead connection, and keeps unsent data.
    """
    found: dict[str, Any] = {
        "servers": [url.strip() for url in settings.url.split(",")],
        "name": name,
        "connect_timeout": TIMES.attempt_seconds,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": TIMES.reconnect_seconds,
        "ping_interval": TIMES.ping_seconds,
        "pending_size": 64 << 20,
        "inbox_prefix": settings.inbox_prefix,
    }
    if any(url.startswith("ws") for url in found["servers"]):
        raise NatsUnreachable(f"{settings.shown_url}: services connect over nats:// or tls://, not over a websocket")
    if settings.creds:
        found["user_credentials"] = _credentials(settings.creds)
    elif settings.user:
        found |= {"user": settings.user, "password": settings.password}
    elif settings.token:
        found["token"] = settings.token
    if settings.ca:
        found["tls"] = _tls(settings.ca)
    return found


def _tls(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl raises one of these also for a file of another kind
        raise SettingsError(f"HEADRACE_CA is {ca!r}, which is not a file of certificates: {error}") from error


def _credentials(path: str) -> str:
    if not Path(path).is_file():
        raise WrongCredentials(f"there is no credentials file {path!r}: check HEADRACE_CREDS")
    if importlib.util.find_spec("nkeys") is None:
        raise WrongCredentials("a credentials file needs the package nkeys: pip install nkeys")
    return path


def who(settings: BusSettings) -> str:
    """Describe the credentials, for an error about the login."""
    if settings.creds:
        return f"the credentials file {settings.creds}"
    if settings.user:
        return f"user {settings.user!r} with this password"
    return "this token" if settings.token else "a connection without a token or user"
