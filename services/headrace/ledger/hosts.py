"""The hosts of the cluster, folded from the log."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace_schemas import HostJoined, HostLost


@dataclass(slots=True)
class HostRecord:
    """A host.

    epoch: the epoch of its newest start. alive: whether it joined in that epoch and was not lost since. capacity: bytes of its store.
    memory: bytes of memory that it may use; 0 if unknown. told: time of its last `HostJoined` in the log, in seconds since 1970.
    """

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
    """Hosts by name. `joined` and `lost` return whether everything that the host held and ran before is lost.

    heard: for each host whose `HostJoined` was not read, the earliest epoch whose messages count. Such a host joined before the reader
    began to read. The epoch is the newest one in which the host did something, or the one after the epoch in which it was lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[str, int] = {}

    def is_change(self, message: HostJoined | HostLost) -> bool:
        """Whether a message changes what is known of its host."""
        known = self.get(message.host)
        if known is None:
            return message.epoch >= self.heard.get(message.host, 0)
        if message.epoch > known.epoch:
            return True
        return isinstance(message, HostLost) and message.epoch == known.epoch and known.alive

    def repeats(self, message: HostJoined) -> bool:
        """Whether a host that is alive joined in this epoch before."""
        known = self.get(message.host)
        return known is not None and known.alive and message.epoch == known.epoch

    def fold_joined(self, message: HostJoined, time: float = 0.0) -> bool:
        """Fold a host's start. time: when the server stored the message, in seconds since 1970."""
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

    def fold_lost(self, message: HostLost) -> bool:
        """Fold the loss of a host."""
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
        """Whether messages from or to a host in this epoch count.

        They do not if the epoch has ended, or has not begun, according to the log. If the reader has not read the host's `HostJoined`,
        messages of the newest epoch that it has read of count.
        """
        known = self.get(host)
        if known is None:
            return epoch >= self.heard.get(host, 0)
        return epoch == known.epoch and known.alive

    def note_epoch(self, host: str, epoch: int) -> bool:
        """Note the epoch of a message from or to a host whose `HostJoined` was not read.

        Returns whether everything that the host held and ran before is lost, because that was in an earlier epoch.
        """
        if host in self:
            return False
        before = self.heard.get(host, epoch)
        self.heard[host] = max(before, epoch)
        return before < epoch

    def alive(self) -> list[str]:
        """List the names of the hosts that are alive, in alphabetical order."""
        return sorted(name for name, record in self.items() if record.alive)
