"""The hosts of the cluster, as the log tells of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace_schemas import HostJoined, HostLost


@dataclass(slots=True)
class HostRecord:
    """A host. epoch: of its newest start. alive: whether that one has joined and is not lost. capacity: bytes of its store. memory: bytes
    that it may use; 0 if it does not say."""

    name: str
    epoch: int
    address: str = ""
    runners: int = 0
    capacity: int = 0
    resources: dict[str, float] = field(default_factory=dict)
    alive: bool = False
    memory: int = 0


class Hosts(dict[str, HostRecord]):
    """Hosts by name. Both folds return whether what the host held and did until now is lost."""

    def changes(self, message: HostJoined | HostLost) -> bool:
        """Whether a message says anything that is not known, or not out of date."""
        known = self.get(message.host)
        if known is None or message.epoch > known.epoch:
            return True
        return isinstance(message, HostLost) and message.epoch == known.epoch and known.alive

    def joined(self, message: HostJoined) -> bool:
        """A host took up work; one that had joined before has started anew."""
        known = self.get(message.host)
        if known is not None and message.epoch <= known.epoch:
            return False
        self[message.host] = HostRecord(
            message.host,
            message.epoch,
            message.address,
            message.runners,
            message.capacity,
            message.resources,
            alive=True,
            memory=message.memory,
        )
        return known is not None and known.alive

    def lost(self, message: HostLost) -> bool:
        """A host of some epoch is gone."""
        known = self.get(message.host)
        if known is None or message.epoch > known.epoch:
            self[message.host] = HostRecord(message.host, message.epoch)
            return True
        if message.epoch < known.epoch or not known.alive:
            return False
        known.alive = False
        return True

    def counts(self, host: str, epoch: int) -> bool:
        """Whether what a host of this epoch says or is told counts: not if the log says that this epoch is over, or not begun.

        A reader of a part of the log that says nothing of hosts believes all of them.
        """
        known = self.get(host)
        return known is None or (epoch == known.epoch and known.alive)

    def alive(self) -> list[str]:
        """The hosts that are at work, by name."""
        return sorted(name for name, record in self.items() if record.alive)
