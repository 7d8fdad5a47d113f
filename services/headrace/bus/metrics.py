"""What the bus counts, in every service: publishes and their acknowledgements, and how far behind the log is read."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from headrace.telemetry import Family, Timing, counter, gauge, summary


class Publishing:
    """Publishes by what became of them; one that somebody else came before, where only one may, is none of these.

    log_seq: the highest sequence in LOG that was acknowledged.
    """

    __slots__ = ("acknowledged", "log_seq", "refused", "repeated")

    def __init__(self) -> None:
        self.acknowledged = self.refused = self.repeated = self.log_seq = 0


class Reading:
    """Entries of the log that were handed over. lag: age of each batch's oldest entry by then, once the log was caught up with.

    reopened: feeds opened again because something was missing or nothing was heard. passed_over: messages that were delivered to a feed
    which did not ask for them, because it had fallen behind (see `reach`).
    """

    __slots__ = ("entries", "lag", "passed_over", "reopened", "seq")

    def __init__(self) -> None:
        self.entries = self.seq = self.reopened = self.passed_over = 0
        self.lag = Timing()


def families(publishing: Publishing, waiting: int, reading: Reading, connected: bool) -> Iterator[Family]:
    """The metrics of a connection to NATS."""
    yield gauge("headrace_build_info", "Version of Headrace; always 1.", {version("headrace"): 1}, "version")
    yield gauge("headrace_nats_connected", "Whether there is a connection to NATS.", connected)
    yield counter("headrace_publish_acks_total", "Messages that JetStream has stored.", publishing.acknowledged)
    yield counter("headrace_publish_retries_total", "Messages sent again, for want of an answer.", publishing.repeated)
    yield counter("headrace_publish_refused_total", "Messages that JetStream refused for good.", publishing.refused)
    yield gauge("headrace_publish_unacknowledged", "Messages sent and not stored yet, as far as is known.", waiting)
    yield counter("headrace_log_entries_total", "Entries of the log that were read.", reading.entries)
    yield gauge("headrace_log_read_sequence", "Sequence of the last entry that was read.", reading.seq)
    yield counter("headrace_feeds_reopened_total", "Feeds opened again: messages were missing, or none came for long.", reading.reopened)
    yield counter("headrace_feed_passed_over_total", "Messages read and not needed, by feeds that were behind.", reading.passed_over)
    known = max(publishing.log_seq, reading.seq)
    yield gauge("headrace_log_known_sequence", "Highest sequence in the log that this process knows of: read, or written.", known)
    yield summary("headrace_log_lag_seconds", "Age of the oldest entry of each batch of the log when it was taken in.", reading.lag)
    yield gauge("headrace_log_longest_lag_seconds", "The most that this age ever was.", reading.lag.longest)
