"""The kinds of faults: what each does, to what, for how long, and what is promised all the same."""

from __future__ import annotations

from dataclasses import dataclass

CENTRAL = ("controller", "scheduler", "publisher")


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    action: a key of `injecting.ACTIONS`. target: what it is done to, see `plan.targets`. lasts: the shortest and longest time in seconds
    until it is undone: a killed process is started again, a stopped one goes on, a link works. promise: for docs/reliability.md.
    """

    name: str
    action: str
    target: str
    lasts: tuple[float, float]
    promise: str
    limits: str = ""
    """What the harness limits for it, which takes root: the size of shm, spill or store (NATS's), or the memory of hosts."""


_HOST_LOST = "Its lease expires after 5 s; other hosts compute again what only it had, including outputs."
_TAKEN_OVER = "Hosts continue to work; the service, or its standby, continues from the log."
_NATS_AWAY = "Hosts continue with the tasks that they have, and send their reports once NATS is back. No dataset is lost."
_LINK_AWAY = "Hosts send datasets again over a new link or through another host, or other hosts compute them again."
_RESUMES = "The process continues where it was; a host whose lease expired meanwhile joins again with all its datasets."
_CLIENT = "The job continues. Once `submit` has returned, another client can find it by its id."
_FULL = "The host stores data where there is room, or tasks wait until there is room."
_STORE_FULL = "Headrace reports it within 5 s; once there is room and nats-server was restarted, jobs continue."
_NATS_LINKS = [
    ("delay", (1.0, 8.0), "Jobs take longer; nothing fails."),
    ("stall", (0.5, 8.0), _RESUMES),
    ("swallow", (0.5, 8.0), _RESUMES),
    ("cut", (0.2, 8.0), _RESUMES),
    ("chop", (1.0, 6.0), _RESUMES),
]
"""Of the link of one process to NATS."""
_DATA_LINKS = [("delay", (1.0, 8.0)), ("stall", (0.5, 8.0)), ("swallow", (0.5, 8.0)), ("cut", (0.2, 8.0)), ("chop", (1.0, 6.0))]
"""Of the links to one host from hosts and clients."""

KINDS = {
    kind.name: kind
    for kind in (
        Kind("kill-worker", "kill", "worker", (0.2, 8.0), _HOST_LOST),
        Kind("stop-worker", "stop", "worker", (0.5, 8.0), _RESUMES),
        Kind("restart-worker", "restart", "worker", (0.1, 1.0), "It announces that it leaves; others at once compute what only it had."),
        Kind("kill-runner", "kill-runner", "worker", (0.0, 0.0), "The host replaces the runner, and its task runs again."),
        Kind("kill-controller", "kill", "controller", (0.1, 6.0), _TAKEN_OVER),
        Kind("kill-scheduler", "kill", "scheduler", (0.1, 6.0), _TAKEN_OVER),
        Kind("kill-publisher", "kill", "publisher", (0.1, 6.0), _TAKEN_OVER),
        Kind("stop-service", "stop", "central", (0.5, 8.0), _TAKEN_OVER),
        Kind("restart-service", "restart", "central", (0.1, 1.0), _TAKEN_OVER),
        Kind("kill-client", "kill-client", "client", (0.1, 1.0), _CLIENT),
        Kind("stop-client", "stop", "client", (0.5, 5.0), _CLIENT),
        Kind("kill-nats", "kill-nats", "nats", (0.1, 6.0), _NATS_AWAY),
        Kind("stop-nats", "stop-nats", "nats", (0.5, 8.0), _NATS_AWAY),
        *(Kind(f"{mode}-nats", mode, "nats link", lasts, promise) for mode, lasts, promise in _NATS_LINKS),
        *(Kind(f"{mode}-link", mode, "data link", lasts, _LINK_AWAY) for mode, lasts in _DATA_LINKS),
        Kind("duplicate", "duplicate", "log", (1.0, 4.0), "A report that arrives twice counts once."),
        Kind("fill-shm", "fill", "worker", (0.5, 4.0), _FULL, "shm"),
        Kind("fill-spill", "fill", "worker", (0.5, 4.0), _FULL, "spill"),
        Kind("break-spill", "break-spill", "worker", (0.5, 4.0), _FULL, "spill"),
        Kind("fill-store", "fill", "nats", (0.5, 4.0), _STORE_FULL, "store"),
        Kind("fill-memory", "hog", "worker", (1.0, 3.0), "Killed processes are started again, and their tasks run again.", "memory"),
        Kind("freeze-all", "freeze-all", "all", (1.0, 8.0), "All processes continue where they were."),
        Kind("kill-all", "kill-all", "all", (0.1, 1.0), "Jobs continue from the log; hosts compute again all datasets that they had."),
    )
}
