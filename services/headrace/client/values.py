"""The values of a job's outputs, fetched from the hosts that hold them; and the error for outputs that cannot be fetched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from headrace.client.fetching import Fetcher, Held
from headrace.client.holders import Holders
from headrace.client.patience import Patience
from headrace.client.settings import SETTINGS
from headrace.errors import OutputsLost
from headrace.ledger import RELEASED, JobLedger
from headrace.link import job_key
from headrace.telemetry.tracing import now

if TYPE_CHECKING:
    from headrace.client.connection import Connection
    from headrace.client.following import Following


async def fetch_values(following: Following, connection: Connection, datasets: Iterable[int]) -> dict[int, memoryview | bytes]:
    """Return the encoded values of available outputs. Wait for those that were lost with their host until they are available again.

    Raises OutputsLost for outputs that were released (even if a host happens to still have them), that cannot be computed again, or
    that cannot be fetched although the log says that a host has them.
    """
    ledger, began = following.ledger, now()
    found: dict[int, memoryview | bytes] = {dataset: value for dataset in datasets if (value := ledger.values.get(dataset)) is not None}
    missing = [dataset for dataset in datasets if dataset not in found]
    if not missing:
        return found
    if any(ledger.flag[dataset] & RELEASED for dataset in missing):
        raise _lost(following.job, ledger, missing, {})
    fetcher = Fetcher(
        following.job, connection.name, job_key(await connection.data_key(), following.job), connection.bus, connection.routes
    )
    found.update(await _fetch_all(following, connection, fetcher, missing))
    if connection.bus.tracing is not None:
        about = {"headrace.outputs": len(found), "headrace.bytes": sum(map(len, found.values()))}
        connection.bus.tracing.span(following.job, "fetch results", began, about)
    return found


async def _fetch_all(following: Following, connection: Connection, fetcher: Fetcher, missing: list[int]) -> dict[int, memoryview]:
    """Fetch the values of outputs that are or were held by hosts. Those of a lost host come from the host that computes them again."""
    found: dict[int, memoryview] = {}
    holders, patience = Holders(following), Patience(SETTINGS.lost_seconds)
    fetcher.still = holders.still
    try:
        while True:
            tried = holders.of(missing)
            came = await fetcher.fetch(tried, connection.addresses)
            found.update(came)
            missing = [dataset for dataset in missing if dataset not in came]
            if not missing:
                return found
            ledger = await holders.read_ledger()
            patience.looked(time.monotonic(), hopeful=bool(came) or ledger.reopened or has_moved(tried, holders.of(missing)))
            if patience.is_over or any(ledger.flag[dataset] & RELEASED for dataset in missing):
                raise _lost(following.job, ledger, missing, fetcher.problems, holders.problem)
            await asyncio.sleep(SETTINGS.fetch_again_seconds)
    finally:
        await holders.stop()


def has_moved(tried: Mapping[int, Held], held: Mapping[int, Held]) -> bool:
    """Return whether some datasets are said to be on a host, or to be from an attempt, that was not tried yet.

    The job may have been reopened and done again since the last look: then it is not open, but its outputs can be fetched.
    """
    return any(tried.get(dataset) != place for dataset, place in held.items())


def _lost(job: str, ledger: JobLedger, datasets: list[int], problems: Mapping[str, str], unread: str = "") -> OutputsLost:
    """Return the error for outputs that cannot be fetched: for the released ones, if there are any.

    unread: why the log was not read again.
    """
    datasets = [dataset for dataset in datasets if ledger.flag[dataset] & RELEASED] or datasets
    names = [ledger.dataset_name(dataset) for dataset in datasets[:3]] + ["..."] * (len(datasets) > 3)
    what = f"outputs {', '.join(names)} of job {job}"
    if ledger.flag[datasets[0]] & RELEASED:
        why = ledger.release_reason or "a client fetched or released them"
        return OutputsLost(f"{what} are gone: {why}. Submit the graph again; with a sink, outputs are kept")
    hosts = sorted({ledger.holder(dataset) or "no host" for dataset in datasets})
    why = "".join(f"; {host}: {problems[host]}" for host in hosts if host in problems)
    why += f"; the log could not be read again: {unread}" if unread else ""
    return OutputsLost(f"{what} can no longer be fetched from {', '.join(hosts)}: submit the graph again{why}")
