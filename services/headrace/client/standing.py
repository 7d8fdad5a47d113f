"""The state of services, as their `status` endpoints report it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from headrace.client.services import CENTRAL
from headrace.client.settings import SETTINGS
from headrace.errors import NatsUnreachable
from headrace.usage import Usage

if TYPE_CHECKING:
    from headrace.client.connection import Connection


class ClusterStatus(NamedTuple):
    """The state of a cluster.

    hosts: names of the hosts. leading: for controller, scheduler and publisher, whether one leads. jobs: number of unfinished jobs.
    streams: how full each stream is, by name, as the controller last saw it. admits: whether new jobs are admitted; not if the log is too
    full. unreadable: messages that services have skipped since they started, because they could not read them: by service and stream, their
    `count`, and `seq`, `subject` and `why` of the last one. trouble: by host, sentences about what does not work at the moment. unstored:
    seconds for which NATS has answered but stored nothing, by the service that noticed (`client`: this process).
    """

    hosts: list[str]
    leading: dict[str, bool]
    jobs: int
    streams: dict[str, Usage]
    admits: bool
    unreadable: dict[str, dict[str, dict[str, Any]]] = {}  # noqa: RUF012
    trouble: dict[str, list[str]] = {}  # noqa: RUF012
    unstored: dict[str, float] = {}  # noqa: RUF012


async def store_peaks(connection: Connection) -> int:
    """Return the sum, in bytes, of the high-water marks of all hosts' stores."""
    found = await _statuses(connection, _hosts(connection))
    return sum(int(status["store"]["high_water"]) for status in found.values())


async def metrics_addresses(connection: Connection) -> dict[str, str]:
    """Return the addresses at which services answer Prometheus, by name, without those that do not.

    Waits briefly for services that are still starting.
    """
    subjects = {name: f"headrace.service.headrace-{name}.status" for name in CENTRAL} | _hosts(connection)
    clock = asyncio.get_running_loop().time
    deadline = clock() + SETTINGS.status_seconds
    while len(found := await _statuses(connection, subjects)) < len(subjects) and clock() < deadline:
        await asyncio.sleep(SETTINGS.ask_again_seconds)
    return {name: status["metrics"] for name, status in found.items() if status.get("metrics")}


async def cluster_status(connection: Connection) -> ClusterStatus:
    """Return the state of the cluster. One of several controllers, schedulers or publishers answers."""
    central = {name: f"headrace.service.headrace-{name}.status" for name in CENTRAL}
    found = await _statuses(connection, central | _hosts(connection))
    controller = found.get(CENTRAL[0], {})
    unstored = {"client": connection.bus.reading.unstored_seconds} | {name: status.get("unstored", 0.0) for name, status in found.items()}
    return ClusterStatus(
        hosts=connection.hosts,
        leading={name: bool(found.get(name, {}).get("leading")) for name in CENTRAL},
        jobs=len(controller.get("jobs", ())),
        streams={name: Usage(usage["bytes"], usage["limit"]) for name, usage in controller.get("streams", {}).items()},
        admits=bool(controller.get("admits", True)),
        unreadable={name: status["unreadable"] for name, status in found.items() if status.get("unreadable")},
        trouble={name: status["trouble"] for name, status in found.items() if status.get("trouble")},
        unstored={name: seconds for name, seconds in unstored.items() if seconds},
    )


def _hosts(connection: Connection) -> dict[str, str]:
    return {host: f"headrace.service.headrace-worker.status-{host}" for host in connection.hosts}


async def _statuses(connection: Connection, subjects: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the answer of each service, without those that do not answer."""
    found = await asyncio.gather(*(_status(connection, subject) for subject in subjects.values()))
    return {name: status for name, status in zip(subjects, found, strict=True) if status is not None}


async def _status(connection: Connection, subject: str) -> dict[str, Any] | None:
    try:
        answer = await connection.bus.request(subject, timeout=SETTINGS.status_seconds)
    except NatsUnreachable:  # the service has just ended
        return None
    status: dict[str, Any] = msgspec.json.decode(answer)
    return status
