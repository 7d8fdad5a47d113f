"""What a client tells the supervisor of its local cluster, and what that one reports: a line of JSON each, over its standard streams."""

from __future__ import annotations

import msgspec


class Orders(msgspec.Struct, kw_only=True):
    """The one argument of a supervisor."""

    client: int
    """Process id of the client; the cluster ends with it."""
    hosts: int
    runners: int
    capacity: int = 0
    """Bytes of each host's store; 0: the worker's default, shared out among the hosts."""
    resources: dict[str, float] = {}
    """What each host has."""


class Folders(msgspec.Struct, tag="folders", kw_only=True):
    """The folders were made that the supervisor removes at the end: for the server's files, and for shared memory."""

    paths: list[str]


class Started(msgspec.Struct, tag="started", kw_only=True):
    """The server answers and every service was forked."""

    url: str
    token: str
    hosts: list[str]
    pids: dict[str, int]
    """Process ids by the service's name."""


class Died(msgspec.Struct, tag="died", kw_only=True):
    """A service ended that was not asked to. status: its exit status, or minus the number of a signal."""

    service: str
    status: int
    ends: int = 1
    """How often it ended in the last minute, this time included."""
    final: bool = False
    """Whether it is not started again."""


class Restarted(msgspec.Struct, tag="restarted", kw_only=True):
    """A service that had ended was started again."""

    service: str
    pid: int


Report = Folders | Started | Died | Restarted

encode = msgspec.json.encode
decode_orders = msgspec.json.Decoder(Orders).decode
decode_report: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)
