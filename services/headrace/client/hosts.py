"""Which hosts there are, as the log tells."""

from __future__ import annotations

from collections.abc import Iterable

from headrace_schemas import HostJoined, HostLost, LogMessage


class Hosts:
    """The hosts that have joined and are not lost: a fold of what the log says of them."""

    def __init__(self) -> None:
        self._alive: dict[str, HostJoined] = {}

    def __len__(self) -> int:
        return len(self._alive)

    def __contains__(self, host: object) -> bool:
        return host in self._alive

    @property
    def names(self) -> list[str]:
        """The hosts' names, in alphabetical order."""
        return sorted(self._alive)

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Where each host's data plane listens: IP address and port."""
        return {name: split_address(host.address) for name, host in self._alive.items()}

    def fold(self, messages: Iterable[LogMessage]) -> None:
        """Take in what was logged, in its order. What is about an older epoch of a host than one known changes nothing."""
        for message in messages:
            if isinstance(message, HostJoined):
                self._join(message)
            elif isinstance(message, HostLost):
                self._lose(message)

    def _join(self, message: HostJoined) -> None:
        known = self._alive.get(message.host)
        if known is None or known.epoch <= message.epoch:
            self._alive[message.host] = message

    def _lose(self, message: HostLost) -> None:
        known = self._alive.get(message.host)
        if known is not None and known.epoch <= message.epoch:
            del self._alive[message.host]


def split_address(address: str) -> tuple[str, int]:
    """IP address and port of "1.2.3.4:5" or "[::1]:5". Raises ValueError for anything else."""
    host, colon, port = address.rpartition(":")
    if not colon:
        raise ValueError(f"{address!r} is no address with a port, like 10.0.0.1:7000")
    return host.strip("[]"), int(port)
