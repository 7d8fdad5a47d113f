"""The metrics of the bus in every service: publishes and their acknowledgements, and the lag behind the log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.metadata import version

import msgspec

from headrace.logs import get_log
from headrace.telemetry import Family, Timing, counter, gauge, summary

log = get_log(__name__)

_QUIET = 1.0
"""Seconds between two lines in our own log about skipped messages."""
_SHOWN = 300
"""Most characters of a subject or a reason: the author of the message may have chosen both."""


class Publishing:
    """Publish counts by outcome. A publish that lost a compare-and-set race is not counted.

    log_seq: the highest acknowledged sequence in LOG. log_frame: the frame of that message.
    """

    __slots__ = ("acknowledged", "log_frame", "log_seq", "refused", "repeated")

    def __init__(self) -> None:
        self.acknowledged = self.refused = self.repeated = self.log_seq = 0
        self.log_frame = b""


class Unreadable(msgspec.Struct):
    """The skipped messages of a stream: their number, and the sequence, subject and reason of the last one."""

    count: int = 0
    seq: int = 0
    subject: str = ""
    why: str = ""


class Reading:
    """Counts of what this process reads. lag: age of each batch's oldest entry when it was passed on, after the log was caught up with.

    reopened: feeds opened again because something was missing or the stream was silent. replaced: connections that were replaced because
    NATS did not answer on them. passed_over: messages that were delivered to a feed that does not need them, because it had fallen behind
    (see `reach`).
    time: of the last entry, by the log's clock. rewound: how often the log was older than this process knew.
    unstored: by connection, seconds for which NATS has answered but stored nothing; 0 if it stores messages.
    unreadable: by stream, messages that were skipped, because they cannot be read or do not belong on their subject.
    """

    __slots__ = (
        "_said",
        "_unsaid",
        "entries",
        "lag",
        "passed_over",
        "reopened",
        "replaced",
        "rewound",
        "seq",
        "time",
        "unreadable",
        "unstored",
    )

    def __init__(self) -> None:
        self.entries = self.seq = self.reopened = self.replaced = self.rewound = self.passed_over = 0
        self.time = 0.0
        self.lag = Timing()
        self.unreadable: dict[str, Unreadable] = {}
        self.unstored: dict[str, float] = {}
        self._said = -_QUIET
        self._unsaid = 0

    def pass_over(self, stream: str, seq: int, subject: str, why: str) -> None:
        """Count a skipped message, and log it, but not each of very many."""
        found = self.unreadable.setdefault(stream, Unreadable())
        found.count += 1
        if seq >= found.seq:  # a claim is decided later than messages after it
            found.seq, found.subject, found.why = seq, subject[:_SHOWN], why[:_SHOWN]
        now = time.monotonic()
        if now - self._said < _QUIET:
            self._unsaid += 1
            return
        log.error(
            "skipped a message that cannot be read", stream=stream, seq=seq, subject=subject[:_SHOWN], why=why[:_SHOWN], others=self._unsaid
        )
        self._said, self._unsaid = now, 0

    def status(self) -> dict[str, object]:
        """Return the counts for people and tools."""
        return {"unreadable": self.unreadable, "unstored": self.unstored_seconds}

    @property
    def unstored_seconds(self) -> float:
        """Seconds for which NATS has answered but stored nothing; 0 if it stores messages."""
        return max(self.unstored.copy().values(), default=0.0)


def families(publishing: Publishing, waiting: int, reading: Reading, connected: bool) -> Iterator[Family]:
    """Yield the metrics of a connection to NATS."""
    yield gauge("headrace_build_info", "Version of Headrace; always 1.", {version("headrace"): 1}, "version")
    yield gauge("headrace_nats_connected", "Whether this process is connected to NATS.", connected)
    yield counter("headrace_nats_replaced_total", "Connections to NATS that were dead, and replaced.", reading.replaced)
    yield counter("headrace_log_rewound_total", "How often NATS came back with an older log than this process knew.", reading.rewound)
    yield counter("headrace_publish_acks_total", "Messages that JetStream has stored.", publishing.acknowledged)
    yield counter("headrace_publish_retries_total", "Messages resent because NATS did not answer.", publishing.repeated)
    yield counter("headrace_publish_refused_total", "Messages that JetStream refused for good.", publishing.refused)
    yield gauge("headrace_publish_unacknowledged", "Messages sent and not stored yet, as far as is known.", waiting)
    unstored = reading.unstored_seconds
    yield gauge("headrace_nats_unstored_seconds", "Seconds for which NATS has stored nothing although it answers.", unstored)
    yield counter("headrace_log_entries_total", "Entries of the log that were read.", reading.entries)
    yield gauge("headrace_log_read_sequence", "Sequence of the last entry that was read.", reading.seq)
    yield counter("headrace_feeds_reopened_total", "Feeds opened again: messages were missing, or none came for long.", reading.reopened)
    yield counter("headrace_feed_passed_over_total", "Messages read and not needed, by feeds that were behind.", reading.passed_over)
    counts = {stream: found.count for stream, found in reading.unreadable.items()}
    yield counter(
        "headrace_unreadable_messages_total", "Messages that were skipped because they cannot be read, by stream.", counts, "stream"
    )
    last = {stream: found.seq for stream, found in reading.unreadable.items()}
    yield gauge("headrace_unreadable_sequence", "Sequence of the last message that was skipped, by stream.", last, "stream")
    known = max(publishing.log_seq, reading.seq)
    yield gauge("headrace_log_known_sequence", "Highest sequence in the log that this process knows of: read, or written.", known)
    yield summary("headrace_log_lag_seconds", "Age of the oldest entry of each batch of the log when this process read it.", reading.lag)
    yield gauge("headrace_log_longest_lag_seconds", "The largest value of this age so far.", reading.lag.longest)
