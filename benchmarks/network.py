"""Hosts on one machine with a network between them: namespaces joined by a bridge, by cables that may have rate limits. Linux, as root."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence

SUBNET = "10.213.8"
"""Of the addresses inside the namespaces; nothing outside them sees it."""
BURST = "1mb"
"""What a rate-limited cable lets through at once: more than the largest piece that the kernel sends, 64 KiB."""
QUEUE = "50ms"
"""How long a rate-limited cable keeps what it cannot send yet, before it drops."""
TOOLS = ("ip", "nsenter", "tc")


class Network:
    """A hub, which has the bridge, and hosts; each in a network namespace of its own. rate: of each cable, both ways, as tc
    has it ("1gbit"), or "" for what the machine does."""

    def __init__(self, hosts: int, rate: str = "") -> None:
        tag = f"hrb{secrets.token_hex(3)}"
        self.rate = rate
        self.hub = f"{tag}-hub"
        self.hosts = [f"{tag}-{index}" for index in range(hosts)]

    def address(self, name: str) -> str:
        """The address of the hub or of a host."""
        return f"{SUBNET}.{1 + [self.hub, *self.hosts].index(name)}"

    def inside(self, name: str, command: Sequence[str]) -> list[str]:
        """The command as it runs in a namespace."""
        return ["nsenter", f"--net=/run/netns/{name}", *command]

    def port(self, index: int) -> str:
        """The hub's end of a host's cable; it receives what the host sends."""
        return f"port{index}"

    def make(self) -> None:
        """Namespaces, bridge, cables and addresses. Raises CalledProcessError."""
        _run(["ip", "netns", "add", self.hub])
        self._ip(self.hub, "link add br0 type bridge")
        self._ip(self.hub, f"addr add {self.address(self.hub)}/24 dev br0")
        self._up(self.hub, "lo", "br0")
        for index, name in enumerate(self.hosts):
            _run(["ip", "netns", "add", name])
            self._plug_in(self.port(index), name)

    def sent_bytes(self, name: str) -> int:
        """What a host has sent over the network so far."""
        (device,) = json.loads(subprocess.check_output(self.inside(name, ["ip", "-json", "-statistics", "link", "show", "eth0"])))
        return int(device["stats64"]["tx"]["bytes"])

    def remove(self) -> None:
        """The namespaces, and with them everything in them."""
        for name in [*self.hosts, self.hub]:
            with contextlib.suppress(subprocess.CalledProcessError):
                _run(["ip", "netns", "delete", name])

    def _plug_in(self, port: str, name: str) -> None:
        self._ip(self.hub, f"link add {port} type veth peer name eth0 netns {name}")
        self._ip(self.hub, f"link set {port} master br0 up")
        self._ip(name, f"addr add {self.address(name)}/24 dev eth0")
        self._up(name, "lo", "eth0")
        for where, device in ((self.hub, port), (name, "eth0")) if self.rate else ():
            limit = f"tc qdisc add dev {device} root tbf rate {self.rate} burst {BURST} latency {QUEUE}"
            _run(self.inside(where, limit.split()))

    def _up(self, name: str, *devices: str) -> None:
        for device in devices:
            self._ip(name, f"link set {device} up")

    def _ip(self, name: str, arguments: str) -> None:
        _run(self.inside(name, ["ip", *arguments.split()]))


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _why_not() -> str:
    """Why no network can be made here; empty if one can, as far as one can tell."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    return f"it takes {', '.join(missing)} (iproute2, util-linux)" if missing else "it takes root" if os.geteuid() else ""


@contextlib.contextmanager
def network(hosts: int, rate: str = "") -> Iterator[Network]:
    """A network, removed on leaving. Raises OSError where none can be made."""
    if reason := _why_not():
        raise OSError(reason)
    made = Network(hosts, rate)
    try:
        try:
            made.make()
        except subprocess.CalledProcessError as error:
            raise OSError(f"no network namespaces can be made here: {error.stderr.decode().strip()}") from error
        yield made
    finally:
        made.remove()
