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


_HOST_LOST = "Its lease runs out after 5 s; what only it had, outputs too, is made again on other hosts."
_TAKEN_OVER = "Hosts work on; the service goes on from the log once it is back, or its standby does."
_NATS_AWAY = "Hosts work on with what was assigned; what they report goes out once NATS is back. No dataset is lost."
_LINK_AWAY = "Datasets are sent again over a new link, or through another host, or made again elsewhere."
_RESUMES = "It goes on where it was; a host whose lease ran out meanwhile joins again with all its datasets."
_CLIENT = "The job goes on. Another client finds it by its id as soon as `submit` has returned."
_FULL = "Data goes where there is room, or tasks wait until there is."
_STORE_FULL = "It is said within 5 s; once there is room and nats-server was restarted, everything goes on."
_NATS_LINKS = [
    ("delay", (1.0, 8.0), "Everything takes longer, and nothing else."),
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
        Kind("restart-worker", "restart", "worker", (0.1, 1.0), "It says that it leaves; what only it had is made again at once."),
        Kind("kill-runner", "kill-runner", "worker", (0.0, 0.0), "It is replaced, and its task runs again."),
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
        Kind("duplicate", "duplicate", "log", (1.0, 4.0), "A report that comes twice counts once."),
        Kind("fill-shm", "fill", "worker", (0.5, 4.0), _FULL, "shm"),
        Kind("fill-spill", "fill", "worker", (0.5, 4.0), _FULL, "spill"),
        Kind("break-spill", "break-spill", "worker", (0.5, 4.0), _FULL, "spill"),
        Kind("fill-store", "fill", "nats", (0.5, 4.0), _STORE_FULL, "store"),
        Kind("fill-memory", "hog", "worker", (1.0, 3.0), "What the kernel kills is started again, and tasks run again.", "memory"),
        Kind("freeze-all", "freeze-all", "all", (1.0, 8.0), "Everything goes on where it was."),
        Kind("kill-all", "kill-all", "all", (0.1, 1.0), "Jobs go on from the log; all that hosts had is made again."),
    )
}
