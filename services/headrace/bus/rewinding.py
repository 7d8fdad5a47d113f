"""Detects that NATS came back with an older log. Pure.

A server whose machine lost power may come back with an older store: its last seconds are gone, and the sequences that they had go to other
messages. A process detects that from what it has read or written: the last sequence of the stream is lower than one that was read or
acknowledged, or another message has it. That can only happen while there is no connection, so the process checks it after each
reconnection, before it sends anything.
"""

from __future__ import annotations

from typing import NamedTuple

from headrace.bus.frames import Record, value_of

REWOUND = (
    "NATS came back with an older log: {why}. Its last messages are lost, as at a power cut of a server without `sync_interval: always`. "
    "Connect again, and resubmit the jobs that the cluster no longer knows"
)


class Known(NamedTuple):
    """What a process knows of the end of the log.

    read, time: sequence and time of the newest message that it read; 0 if there is none. written, msg_id: sequence and Nats-Msg-Id of the
    newest of its own messages that was acknowledged.
    """

    read: int
    time: float
    written: int
    msg_id: bytes

    @property
    def last(self) -> int:
        """The highest sequence that the log had."""
        return max(self.read, self.written)


def difference(known: Known, last_seq: int, read: Record | None, written: Record | None) -> str:
    """Describe the difference between the log and what this process knows of it; empty if there is none.

    last_seq: the log's last sequence. read, written: the messages that are now at `known.read` and `known.written`, None if they are gone:
    the controller removes finished jobs from the log.
    """
    if last_seq < known.last:
        return f"its last message is {last_seq:,}, but this process knows of {known.last:,}"
    if read is not None and read.time != known.time:
        return f"message {known.read:,} is not the one that was read here"
    if written is not None and value_of(written.headers, b"Nats-Msg-Id") != known.msg_id:
        return f"message {known.written:,} is not the one that was written here"
    return ""
