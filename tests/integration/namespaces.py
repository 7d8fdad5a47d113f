"""Hosts on one machine with a network between them: namespaces joined by a bridge. Linux, as root."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

NETWORK = "10.213.7"
"""Of the addresses inside the namespaces; nothing outside them sees it."""


class Network:
    """A hub, which has the bridge, and hosts; each in a network namespace of its own."""

    def __init__(self, hosts: int) -> None:
        self._tag = f"hr{secrets.token_hex(3)}"
        self.hub = f"{self._tag}-hub"
        self.hosts = [f"{self._tag}-{index}" for index in range(hosts)]

    def address(self, name: str) -> str:
        """The address of the hub or of a host."""
        return f"{NETWORK}.{1 + ([self.hub, *self.hosts].index(name))}"

    def inside(self, name: str, command: list[str]) -> list[str]:
        """The command as it runs in a namespace."""
        return ["nsenter", f"--net=/run/netns/{name}", *command]

    def make(self) -> None:
        """Namespaces, bridge, cables and addresses."""
        _ip("netns", "add", self.hub)
        self._in(self.hub, "link", "add", "br0", "type", "bridge")
        self._in(self.hub, "addr", "add", f"{self.address(self.hub)}/24", "dev", "br0")
        for device in ("lo", "br0"):
            self._in(self.hub, "link", "set", device, "up")
        for index, name in enumerate(self.hosts):
            self._plug_in(index, name)

    def _plug_in(self, index: int, name: str) -> None:
        _ip("netns", "add", name)
        self._in(self.hub, "link", "add", f"port{index}", "type", "veth", "peer", "name", "eth0", "netns", name)
        self._in(self.hub, "link", "set", f"port{index}", "master", "br0", "up")
        self._in(name, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            self._in(name, "link", "set", device, "up")

    def sent_bytes(self, name: str) -> int:
        """What a host has sent over the network so far."""
        command = self.inside(name, ["cat", "/proc/net/dev"])
        line = next(line for line in subprocess.check_output(command, text=True).splitlines() if "eth0" in line)
        return int(line.split(":")[1].split()[8])

    def remove(self) -> None:
        """The namespaces, and with them everything in them."""
        for name in [*self.hosts, self.hub]:
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", name)

    def _in(self, name: str, *arguments: str) -> None:
        subprocess.run(self.inside(name, ["ip", *arguments]), check=True, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def network(hosts: int) -> Iterator[Network]:
    """A network for the length of a test; skips where none can be made."""
    if os.geteuid() or not shutil.which("ip") or not shutil.which("nsenter"):
        pytest.skip("network namespaces need root, ip (iproute2) and nsenter")
    made = Network(hosts)
    try:
        try:
            made.make()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces can be made here: {error.stderr.decode().strip()}")
        yield made
    finally:
        made.remove()


def shm_folder(tag: str) -> Path:
    """A folder in memory of its own."""
    parent = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path("/tmp")
    folder = parent / f"headrace-test-{tag}-{secrets.token_hex(4)}"
    folder.mkdir()
    return folder
