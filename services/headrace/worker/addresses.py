"""The address at which other hosts and clients reach this host."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

WILDCARDS = frozenset({"", "0.0.0.0", "::", "[::]"})
"""Names that stand for every address of the machine. A host can listen on them, but no peer can connect to them."""
NATS_PORT = 4222


def is_wildcard(listen: str) -> bool:
    """Whether a "host:port" to listen on names no address that peers can connect to."""
    return listen.rpartition(":")[0] in WILDCARDS


def outgoing_ip(url: str) -> str:
    """Return the address from which this machine reaches the (first) NATS server. Peers that reach the server can usually reach it.

    Sends nothing. Raises OSError if there is no route to the server.
    """
    hub = urlsplit(url.split(",")[0] if "://" in url else f"nats://{url.split(',')[0]}")
    found = socket.getaddrinfo(hub.hostname, hub.port or NATS_PORT, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


def advertised(advertise: str, bound: tuple[str, int]) -> str:
    """Return the address that peers are told: the setting, with the bound port if it names none, or else the bound address."""
    host, port = bound
    if not advertise:
        return f"{host}:{port}"
    name, colon, tail = advertise.rpartition(":")
    has_port = bool(colon) and tail.isdigit() and (":" not in name or name.endswith("]"))
    if has_port:
        return advertise
    return f"[{advertise}]:{port}" if ":" in advertise and not advertise.endswith("]") else f"{advertise}:{port}"
