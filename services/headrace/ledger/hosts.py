"""The hosts of the cluster, as the log tells of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace_schemas import HostJoined, HostLost


@dataclass(slots=True)
class HostRecord:
    """A host. epoch: of its newest start. alive: whether that one has joined and is not lost. capacity: bytes of its store. memory: bytes
    that it may use; 0 if it does not say. told: when the log last said that it joined, in seconds since the epoch."""

    name: str
    epoch: int
    address: str = ""
    runners: int = 0
    capacity: int = 0
    resources: dict[str, float] = field(default_factory=dict)
    alive: bool = False
    memory: int = 0
    told: float = 0.0


class Hosts(dict[str, HostRecord]):
    """Hosts by name. Both folds return whether what the host held and did until now is lost.

    heard: of hosts that were not read of to join, the earliest epoch that counts: the newest one in which the host did something, or the
    one after that in which it was lost. A host that does something joined before its reader began.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[str, int] = {}

    def changes(self, message: HostJoined | HostLost) -> bool:
        """Whether a message says anything that is not known, or not out of date."""
        known = self.get(message.host)
        if known is None:
            return message.epoch >= self.heard.get(message.host, 0)
        if message.epoch > known.epoch:
            return True
        return isinstance(message, HostLost) and message.epoch == known.epoch and known.alive

    def repeats(self, message: HostJoined) -> bool:
        """Whether a host that is at work joined in this very epoch before."""
        known = self.get(message.host)
        return known is not None and known.alive and message.epoch == known.epoch

    def joined(self, message: HostJoined, time: float = 0.0) -> bool:
        """A host took up work; one that had joined before has started anew. time: seconds since the epoch."""
        known = self.get(message.host)
        if known is not None and message.epoch <= known.epoch:
            if self.repeats(message):
                known.told = time
            return False
        if known is None and message.epoch < self.heard.get(message.host, 0):
            return False
        heard = self.heard.pop(message.host, message.epoch)
        self[message.host] = HostRecord(
            message.host,
            message.epoch,
            message.address,
            message.runners,
            message.capacity,
            message.resources,
            alive=True,
            memory=message.memory,
            told=time,
        )
        return known.alive if known is not None else heard < message.epoch

    def lost(self, message: HostLost) -> bool:
        """A host of some epoch is gone."""
        known = self.get(message.host)
        if known is None:
            if message.epoch < self.heard.get(message.host, 0):
                return False
            self.heard[message.host] = message.epoch + 1
            return True
        if message.epoch > known.epoch:
            self[message.host] = HostRecord(message.host, message.epoch)
            return True
        if message.epoch < known.epoch or not known.alive:
            return False
        known.alive = False
        return True

    def counts(self, host: str, epoch: int) -> bool:
        """Whether what a host of this epoch says or is told counts: not if the log says that this epoch is over, or not begun.

        A reader of a part of the log that says nothing of a host believes it, as of the newest epoch that it heard of.
        """
        known = self.get(host)
        if known is None:
            return epoch >= self.heard.get(host, 0)
        return epoch == known.epoch and known.alive

    def hear(self, host: str, epoch: int) -> bool:
        """Take in that a host of which nothing was read does something in an epoch, or is told to. Returns whether what it held and did
        until now is lost, for that was in an earlier epoch."""
        if host in self:
            return False
        before = self.heard.get(host, epoch)
        self.heard[host] = max(before, epoch)
        return before < epoch

    def alive(self) -> list[str]:
        """The hosts that are at work, by name."""
        return sorted(name for name, record in self.items() if record.alive)
