"""The messages between a client and the supervisor of its local cluster: orders and reports, as lines of JSON over standard streams."""

from __future__ import annotations

import msgspec


class Orders(msgspec.Struct, kw_only=True):
    """The orders of a supervisor, its only argument."""

    client: int
    """Process id of the client; the cluster ends with it."""
    hosts: int
    runners: int
    capacity: int = 0
    """Bytes of each host's store; 0: the worker's default, divided by the hosts."""
    resources: dict[str, float] = {}
    """Resources of each host."""


class Folders(msgspec.Struct, tag="folders", kw_only=True):
    """The supervisor has created its folders, for the server's files and for shared memory. It removes them at the end."""

    paths: list[str]


class Started(msgspec.Struct, tag="started", kw_only=True):
    """The server answers, and every service was forked."""

    url: str
    token: str
    hosts: list[str]
    pids: dict[str, int]
    """Process ids by the service's name."""


class Died(msgspec.Struct, tag="died", kw_only=True):
    """A service ended by itself. status: its exit status, or minus the number of a signal."""

    service: str
    status: int
    ends: int = 1
    """How often it ended in the last minute, including this time."""
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
