"""How each fault is done to a deployment, and undone."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from functools import partial
from random import Random

import psutil

from tests.chaos import filling
from tests.chaos.deployment import LEFT_BYTES, MEMORY_BYTES, Deployment
from tests.chaos.duplicating import duplicate
from tests.chaos.faults import KINDS
from tests.chaos.plan import Fault
from tests.chaos.processes import send
from tests.chaos.proxy import Mode

DELAY = (0.02, 0.3)
"""Seconds by which a slow link is slower."""
OPERATOR_SECONDS = 0.5
"""From the moment that there is room on the disk of nats-server to the restart of nats-server."""
CHOPPED_BYTES = 20_000
"""The most that passes before a link that is chopped breaks: the handshakes of NATS take 1 to 2 KB."""


def inject(deployment: Deployment, fault: Fault) -> bool:
    """Do it, and put into the deployment's agenda how it is undone. Returns whether there was something to do it to."""
    return ACTIONS[KINDS[fault.kind].action](deployment, fault)


def _kill(deployment: Deployment, fault: Fault) -> bool:
    return deployment.kill([fault.target], fault.seconds)


def _restart(deployment: Deployment, fault: Fault) -> bool:
    """End a service in order, and start it again."""
    return deployment.kill([fault.target], fault.seconds, signal.SIGTERM)


def _kill_runner(deployment: Deployment, fault: Fault) -> bool:
    runners = deployment.runners(fault.target)
    return bool(runners) and send(Random(fault.at).choice(runners), signal.SIGKILL)


def _stop(deployment: Deployment, fault: Fault) -> bool:
    """Stop a process, and all that it has started."""
    pid = deployment.processes.pids.get(fault.target)
    return pid is not None and _stop_all(deployment, _tree(pid), fault.seconds)


def _kill_nats(deployment: Deployment, fault: Fault) -> bool:
    return deployment.kill_server(fault.seconds)


def _stop_nats(deployment: Deployment, fault: Fault) -> bool:
    return _stop_all(deployment, [deployment.server.pid], fault.seconds)


def _freeze_all(deployment: Deployment, fault: Fault) -> bool:
    pids = [deployment.server.pid, *deployment.processes.pids.values()]
    return _stop_all(deployment, [process for pid in pids for process in _tree(pid)], fault.seconds)


def _kill_all(deployment: Deployment, fault: Fault) -> bool:
    """Kill everything at once, and start it on the same stores: nats-server first, the services a moment later."""
    deployment.kill_server(fault.seconds)
    return deployment.kill([*deployment.services, *deployment.clients], fault.seconds + 0.2)


def _link(deployment: Deployment, fault: Fault) -> bool:
    """Disturb a route for some time."""
    action = KINDS[fault.kind].action
    random = Random(fault.at)
    deployment.links.set(fault.target, Mode(action, random.uniform(*DELAY) if action == "delay" else 0.0, CHOPPED_BYTES))
    deployment.later(fault.seconds, partial(deployment.links.set, fault.target, Mode()))
    return True


def _fill(deployment: Deployment, fault: Fault) -> bool:
    """Take all free space of a disk."""
    disk = KINDS[fault.kind].limits
    filler = filling.fill(deployment.disk(disk, fault.target), LEFT_BYTES[disk])
    deployment.later(fault.seconds, partial(filler.unlink, missing_ok=True))
    if disk == "store":
        # What operators do: nats-server takes no message after a failed write, also when there is room again.
        deployment.later(fault.seconds + OPERATOR_SECONDS, partial(deployment.kill_server, 0.0))
    return True


def _break_spill(deployment: Deployment, fault: Fault) -> bool:
    """Make the disk that a host moves data to read-only."""
    folder = deployment.disk("spill", fault.target)
    filling.make_read_only(folder, read_only=True)
    deployment.later(fault.seconds, partial(filling.make_read_only, folder, read_only=False))
    return True


def _hog(deployment: Deployment, fault: Fault) -> bool:
    """Take the memory that a host may use, so that the kernel kills processes of it."""
    if (group := deployment.groups.get(fault.target)) is None:
        return False
    deployment.excused.add(fault.target)
    deployment.fork(f"hog-{fault.at}", partial(filling.hog, group.entrances, 2 * MEMORY_BYTES, fault.seconds))
    return True


def _duplicate(deployment: Deployment, fault: Fault) -> bool:
    deployment.fork(f"duplicate-{fault.at}", partial(duplicate, deployment.server.settings, fault.seconds))
    return True


def _stop_all(deployment: Deployment, pids: Iterable[int], seconds: float) -> bool:
    stopped = [pid for pid in pids if send(pid, signal.SIGSTOP)]
    for pid in stopped:
        deployment.later(seconds, partial(send, pid, signal.SIGCONT))
    return bool(stopped)


def _tree(pid: int) -> list[int]:
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return []


ACTIONS: dict[str, Callable[[Deployment, Fault], bool]] = {
    "kill": _kill,
    "kill-client": _kill,
    "restart": _restart,
    "kill-runner": _kill_runner,
    "stop": _stop,
    "kill-nats": _kill_nats,
    "stop-nats": _stop_nats,
    "freeze-all": _freeze_all,
    "kill-all": _kill_all,
    "fill": _fill,
    "break-spill": _break_spill,
    "hog": _hog,
    "duplicate": _duplicate,
    **dict.fromkeys(("delay", "stall", "swallow", "cut", "chop"), _link),
}
