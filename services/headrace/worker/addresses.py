"""Under which address other hosts and clients find this one."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

WILDCARDS = frozenset({"", "0.0.0.0", "::", "[::]"})
"""To listen on: every address of the machine. Nobody can connect to these."""
NATS_PORT = 4222


def is_wildcard(listen: str) -> bool:
    """Whether "host:port" to listen on names no address that others could use."""
    return listen.rpartition(":")[0] in WILDCARDS


def outgoing_ip(url: str) -> str:
    """The address that this machine has on the way to the (first) NATS server: the others, who reach that server too, know it.

    Sends nothing. Raises OSError if there is no way there.
    """
    hub = urlsplit(url.split(",")[0] if "://" in url else f"nats://{url.split(',')[0]}")
    found = socket.getaddrinfo(hub.hostname, hub.port or NATS_PORT, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


def advertised(advertise: str, bound: tuple[str, int]) -> str:
    """What to tell the others: the setting, with the port that is listened on if it names none; or else the address listened on."""
    host, port = bound
    if not advertise:
        return f"{host}:{port}"
    name, colon, tail = advertise.rpartition(":")
    has_port = bool(colon) and tail.isdigit() and (":" not in name or name.endswith("]"))
    if has_port:
        return advertise
    return f"[{advertise}]:{port}" if ":" in advertise and not advertise.endswith("]") else f"{advertise}:{port}"
