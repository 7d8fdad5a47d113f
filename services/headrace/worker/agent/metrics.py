"""A host's metrics: what its tasks took, what its store holds, what went from host to host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from headrace.telemetry import OTHER, Family, Timing, Timings, counter, gauge, summary
from headrace.worker.agent.memory import Memory
from headrace.worker.agent.slots import RunnerSlot

MOST_FUNCTIONS = 100
"""Functions that have a label of their own, by their names, since this service started; all others are "other"."""
MOST_REASONS = 20
"""The same of reasons of failures, of which there are about ten."""
FAILURES = ("raised", "runner_died", "out_of_memory")
"""Reasons that are told of from the start, so that the first failure is an increase."""


class Counts:
    """What happened to tasks here. overcommits: results that got room above the capacity, since nothing else could go on. setbacks: actions
    that could not be carried out, by their kind."""

    def __init__(self) -> None:
        self.functions = Timings(MOST_FUNCTIONS)
        self.setbacks: Counter[str] = Counter()
        self.failures = Counter(dict.fromkeys(FAILURES, 0))
        self.overcommits = 0

    def failed(self, reason: str) -> None:
        """A task failed."""
        self.failures[reason if reason in self.failures or len(self.failures) < MOST_REASONS else OTHER] += 1


class Traffic:
    """What went over links. sent, received: blocks of the store, and the time from a block's first byte to its last. Bytes: with values."""

    def __init__(self) -> None:
        self.sent, self.received = Timing(), Timing()
        self.sent_bytes = self.received_bytes = 0
        self.unreachable = 0


def task_families(counts: Counts) -> Iterator[Family]:
    """Tasks by function, and how they failed."""
    longest = {name: timing.longest for name, timing in counts.functions.items()}
    yield summary("headrace_task_seconds", "Tasks that ended well, and the time that they took, by function.", counts.functions, "function")
    yield gauge("headrace_task_longest_seconds", "The longest of them since this service started.", longest, "function")
    yield counter("headrace_task_failures_total", "Attempts of tasks that failed, by reason.", counts.failures, "reason")
    yield counter(
        "headrace_worker_setbacks_total", "Actions of the host that could not be carried out, by kind.", counts.setbacks, "action"
    )


def store_families(memory: Memory, overcommits: int) -> Iterator[Family]:
    """The store and the disk behind it. The states in memory add up to the capacity, unless that is exceeded."""
    store, disk = memory.store, memory.disk
    states = {"live": store.used - store.held_purged, "purged": store.held_purged, "free": store.free, "spilled": disk.held_bytes}
    help = "Bytes of datasets by state: live; purged, and still held by someone; free; spilled to disk, and not in memory."
    yield gauge("headrace_store_bytes", help, states, "state")
    yield gauge("headrace_store_capacity_bytes", "What the datasets in memory are to take at most.", store.capacity)
    yield gauge("headrace_store_high_water_bytes", "The most that they ever took.", store.high_water)
    yield gauge("headrace_store_backed_bytes", "Memory behind the store, free space that was used before included.", store.backed)
    yield gauge("headrace_store_waiting_results", "Results, and datasets of other hosts, that wait for room.", memory.n_claims)
    yield counter("headrace_store_overcommits_total", "Times that room was given above the capacity.", overcommits)
    yield gauge("headrace_spilling_paused", "1 while nothing is moved to disk, since that failed.", float(disk.spills and not disk.enabled))
    yield counter("headrace_shared_memory_full_total", "Times that the folder of shared memory was full.", memory.shortage.times)
    yield counter("headrace_spilled_bytes_total", "Bytes of datasets that were moved to disk.", disk.spilled_bytes)
    yield counter("headrace_restored_bytes_total", "Bytes of datasets that were read back from disk.", disk.restored_bytes)


def traffic_families(traffic: Traffic, links: dict[str, int], refused: dict[str, int]) -> Iterator[Family]:
    """What goes to and comes from other hosts and clients. links: open ones by direction. refused: too many ones, by reason."""
    timings = {"sent": traffic.sent, "received": traffic.received}
    nbytes = {"sent": traffic.sent_bytes, "received": traffic.received_bytes}
    yield summary(
        "headrace_transfer_seconds", "Large datasets (or pieces), and the time from their first byte to the last.", timings, "direction"
    )
    yield counter("headrace_transfer_bytes_total", "Bytes of datasets sent and received, small ones included.", nbytes, "direction")
    yield gauge("headrace_links", "Links that are open: to other hosts, and from hosts and clients.", links, "direction")
    yield counter("headrace_links_failed_total", "Links to other hosts that could not be opened.", traffic.unreachable)
    yield counter("headrace_links_refused_total", "Links that were ended for being too many: strangers, or of one peer.", refused, "reason")


def error_families(failures: Counter[str]) -> Iterator[Family]:
    """Mistakes of this program."""
    help = "Events on which the host's own code failed, by kind; the host goes on, and the job of the event fails."
    yield counter("headrace_internal_errors_total", help, failures, "kind")


def runner_families(slots: list[RunnerSlot], deaths: int, chains: int, stuck: int) -> Iterator[Family]:
    """The runners and their work. stuck: segments that wait for what should have come."""
    yield gauge("headrace_worker_stuck_segments", "Tasks that wait for what should have come at once: a mistake of the host's.", stuck)
    states = Counter("starting" if not slot.alive else "busy" if slot.outstanding else "idle" for slot in slots)
    yield gauge("headrace_runners", "Runners by state.", {state: states[state] for state in ("busy", "idle", "starting")}, "state")
    yield counter("headrace_runner_deaths_total", "Runners that ended and were replaced.", deaths)
    yield gauge("headrace_window_chains", "Chains that were released to this host and are not over.", chains)
