"""The kinds of faults: what each does to which process, and what is promised meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

CENTRAL = ("controller", "scheduler", "publisher")
LEASE = 5.0
"""Seconds after which a silent host is lost."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    name: as in `--faults`. does: what is done, and to what, as in "kill": killed, "worker": one host's processes.
    lasts: the shortest and longest time in seconds until it is undone. promise: what holds all the same, for docs/reliability.md.
    """

    name: str
    action: str
    target: str
    lasts: tuple[float, float]
    promise: str


HOST_LOST = "The host's lease runs out; what only it had is made again on other hosts."
TAKEN_OVER = "Hosts work on; the service goes on from the log once it is back, or its standby does."

KINDS = {kind.name: kind for kind in (Kind("kill-worker", "kill", "worker", (0.2, 8.0), HOST_LOST),)}
