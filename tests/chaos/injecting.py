"""How each fault is done to a deployment."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.deployment import Deployment
from tests.chaos.faults import KINDS
from tests.chaos.plan import Fault


def inject(deployment: Deployment, fault: Fault) -> None:
    """Do it. What is to be undone later goes into the deployment's agenda."""
    ACTIONS[KINDS[fault.kind].action](deployment, fault)


def _kill(deployment: Deployment, fault: Fault) -> None:
    deployment.kill(fault.target, fault.seconds)


ACTIONS: dict[str, Callable[[Deployment, Fault], None]] = {
    "kill": _kill,
}
