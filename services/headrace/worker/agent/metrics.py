"""A host's metrics: durations of its tasks, the use of its store, and the traffic between hosts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from headrace.telemetry import OTHER, Family, Timing, Timings, counter, gauge, summary
from headrace.worker.agent.memory import Memory
from headrace.worker.agent.slots import RunnerSlot

MOST_FUNCTIONS = 100
"""The number of functions that have a label of their own, by name, since this service started. All others are "other"."""
MOST_REASONS = 20
"""The same for the reasons of failures, of which there are about ten."""
FAILURES = ("raised", "runner_died", "out_of_memory")
"""Reasons that are exported from the start, so that the first failure shows as an increase."""


class Counts:
    """Counters of what happened on this host.

    overcommits: results that got memory above the capacity, because nothing else could go on. setbacks: actions that could not be carried
    out, by kind.
    """

    def __init__(self) -> None:
        self.functions = Timings(MOST_FUNCTIONS)
        self.setbacks: Counter[str] = Counter()
        self.failures = Counter(dict.fromkeys(FAILURES, 0))
        self.overcommits = 0

    def failed(self, reason: str) -> None:
        """Count a failed task."""
        self.failures[reason if reason in self.failures or len(self.failures) < MOST_REASONS else OTHER] += 1


class Traffic:
    """Counters of the traffic over links.

    sent, received: blocks of the store, with the time from a block's first byte to its last. The byte counts include small values.
    """

    def __init__(self) -> None:
        self.sent, self.received = Timing(), Timing()
        self.sent_bytes = self.received_bytes = 0
        self.unreachable = 0


def task_families(counts: Counts) -> Iterator[Family]:
    """Yield the durations of tasks by function, and their failures."""
    longest = {name: timing.longest for name, timing in counts.functions.items()}
    yield summary("headrace_task_seconds", "Tasks that succeeded, and the time that they took, by function.", counts.functions, "function")
    yield gauge("headrace_task_longest_seconds", "The longest task since this service started, by function.", longest, "function")
    yield counter("headrace_task_failures_total", "Failed attempts of tasks, by reason.", counts.failures, "reason")
    yield counter(
        "headrace_worker_setbacks_total", "Actions of the host that could not be carried out, by kind.", counts.setbacks, "action"
    )


def store_families(memory: Memory, overcommits: int) -> Iterator[Family]:
    """Yield the use of the store and of the disk behind it. The states in memory add up to the capacity, unless that is exceeded."""
    store, disk = memory.store, memory.disk
    states = {"live": store.used - store.held_purged, "purged": store.held_purged, "free": store.free, "spilled": disk.held_bytes}
    help = "Bytes of datasets by state: live; purged but still held by a runner or a send; free; spilled to disk and not in memory."
    yield gauge("headrace_store_bytes", help, states, "state")
    yield gauge("headrace_store_capacity_bytes", "The most bytes that datasets should take in memory.", store.capacity)
    yield gauge("headrace_store_high_water_bytes", "The most bytes that datasets ever took in memory.", store.high_water)
    yield gauge("headrace_store_backed_bytes", "Bytes of memory behind the store, including free space that was used before.", store.backed)
    yield gauge("headrace_store_waiting_results", "Results, and datasets of other hosts, that wait for memory.", memory.n_claims)
    yield counter("headrace_store_overcommits_total", "Times that memory was granted above the capacity.", overcommits)
    yield gauge(
        "headrace_spilling_paused", "1 while nothing is moved to disk because a write failed.", float(disk.spills and not disk.enabled)
    )
    yield counter("headrace_shared_memory_full_total", "Times that the folder of shared memory was full.", memory.shortage.times)
    yield counter("headrace_spilled_bytes_total", "Bytes of datasets that were moved to disk.", disk.spilled_bytes)
    yield counter("headrace_restored_bytes_total", "Bytes of datasets that were read back from disk.", disk.restored_bytes)


def traffic_families(traffic: Traffic, links: dict[str, int], refused: dict[str, int]) -> Iterator[Family]:
    """Yield the traffic to and from other hosts and clients. links: open links by direction. refused: links above a limit, by reason."""
    timings = {"sent": traffic.sent, "received": traffic.received}
    nbytes = {"sent": traffic.sent_bytes, "received": traffic.received_bytes}
    yield summary(
        "headrace_transfer_seconds", "Large datasets or pieces, and the time from their first byte to the last.", timings, "direction"
    )
    yield counter("headrace_transfer_bytes_total", "Bytes of datasets sent and received, small ones included.", nbytes, "direction")
    yield gauge("headrace_links", "Open links: to other hosts, and from hosts and clients.", links, "direction")
    yield counter("headrace_links_failed_total", "Links to other hosts that could not be opened.", traffic.unreachable)
    yield counter("headrace_links_refused_total", "Links that were closed because strangers, or one peer, had too many.", refused, "reason")


def error_families(failures: Counter[str]) -> Iterator[Family]:
    """Yield the internal errors of this program."""
    help = "Events on which the host's own code failed, by kind. The host goes on, and the job of the event fails."
    yield counter("headrace_internal_errors_total", help, failures, "kind")


def runner_families(slots: list[RunnerSlot], deaths: int, chains: int, stuck: int) -> Iterator[Family]:
    """Yield the state of the runners and their work. stuck: segments that wait for something that should have come."""
    yield gauge("headrace_worker_stuck_segments", "Tasks that wait for what should have come at once, by a fault of the host.", stuck)
    states = Counter("starting" if not slot.alive else "busy" if slot.outstanding else "idle" for slot in slots)
    yield gauge("headrace_runners", "Runners by state.", {state: states[state] for state in ("busy", "idle", "starting")}, "state")
    yield counter("headrace_runner_deaths_total", "Runners that ended and were replaced.", deaths)
    yield gauge("headrace_window_chains", "Chains that were released to this host and are not over.", chains)
