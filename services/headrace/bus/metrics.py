"""What the bus counts, in every service: publishes and their acknowledgements, and how far behind the log is read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.metadata import version

import msgspec

from headrace.logs import get_log
from headrace.telemetry import Family, Timing, counter, gauge, summary

log = get_log(__name__)

_QUIET = 1.0
"""Seconds between two lines in our own log about messages that are passed over."""
_SHOWN = 300
"""Characters of a subject or a reason: both may come from whoever wrote the message."""


class Publishing:
    """Publishes by outcome. A publish that lost a compare-and-set race is not counted.

    log_seq: the highest sequence in LOG that was acknowledged. log_frame: the message that has it, as it was sent.
    """

    __slots__ = ("acknowledged", "log_frame", "log_seq", "refused", "repeated")

    def __init__(self) -> None:
        self.acknowledged = self.refused = self.repeated = self.log_seq = 0
        self.log_frame = b""


class Unreadable(msgspec.Struct):
    """Messages of a stream that were passed over: how many, and of the last one the sequence, the subject and the reason."""

    count: int = 0
    seq: int = 0
    subject: str = ""
    why: str = ""


class Reading:
    """Entries of the log that were handed over. lag: age of each batch's oldest entry by then, once the log was caught up with.

    reopened: feeds opened again because something was missing or nothing was heard. replaced: connections that were replaced because
    NATS did not answer on them. passed_over: messages that were delivered to a feed
    which did not ask for them, because it had fallen behind (see `reach`).
    time: of the last entry, by the log's clock. rewound: how often the log was older than what this process knew of it.
    unstored: by connection, seconds for which NATS has stored nothing although it answers; 0 if it does.
    unreadable: by stream, messages that were skipped, because they cannot be read or are not allowed on their subject.
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
        """Count a message, and say so, but not for each of very many."""
        found = self.unreadable.setdefault(stream, Unreadable())
        found.count += 1
        if seq >= found.seq:  # what a claim is worth is found out later than what follows it
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
        """For people and tools."""
        return {"unreadable": self.unreadable, "unstored": self.unstored_seconds}

    @property
    def unstored_seconds(self) -> float:
        """Seconds for which NATS has stored nothing although it answers; 0 if it stores."""
        return max(self.unstored.copy().values(), default=0.0)


def families(publishing: Publishing, waiting: int, reading: Reading, connected: bool) -> Iterator[Family]:
    """The metrics of a connection to NATS."""
    yield gauge("headrace_build_info", "Version of Headrace; always 1.", {version("headrace"): 1}, "version")
    yield gauge("headrace_nats_connected", "Whether there is a connection to NATS.", connected)
    yield counter("headrace_nats_replaced_total", "Connections to NATS that were dead, and replaced.", reading.replaced)
    yield counter("headrace_log_rewound_total", "How often NATS came back with an older log than this process knew.", reading.rewound)
    yield counter("headrace_publish_acks_total", "Messages that JetStream has stored.", publishing.acknowledged)
    yield counter("headrace_publish_retries_total", "Messages sent again, for want of an answer.", publishing.repeated)
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
    yield summary("headrace_log_lag_seconds", "Age of the oldest entry of each batch of the log when it was taken in.", reading.lag)
    yield gauge("headrace_log_longest_lag_seconds", "The most that this age ever was.", reading.lag.longest)
