"""Where a job's outputs are, as far as the log says: at first as of the job's end, and up to date once somebody doubts it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from headrace.client.fetching import Held

if TYPE_CHECKING:
    from headrace.client.following import Following
    from headrace.ledger import JobLedger


class Holders:
    """The hosts that hold outputs of a job. Nobody listens to the log once a job is over, so it is followed again when that is needed."""

    def __init__(self, following: Following) -> None:
        self._following = following
        self._again: asyncio.Task[Following] | None = None

    def of(self, datasets: Iterable[int]) -> dict[int, Held]:
        """Where outputs are, those that are somewhere."""
        ledger = self.ledger
        return {dataset: Held(host, int(ledger.made[dataset])) for dataset in datasets if (host := ledger.holder(dataset))}

    @property
    def ledger(self) -> JobLedger:
        """What is known of the job."""
        again = self._again
        return again.result().ledger if again is not None and again.done() else self._following.ledger

    async def look(self) -> JobLedger:
        """What is known of the job, from the log as it goes on. Raises the error that ended the connection."""
        if self._again is None:
            self._again = asyncio.ensure_future(self._following.follow_again())
        return (await asyncio.shield(self._again)).ledger

    async def still(self, host: str, wanted: Mapping[int, int]) -> bool:
        """Whether a host still holds these attempts of outputs."""
        ledger = await self.look()
        return all(ledger.holder(dataset) == host and int(ledger.made[dataset]) == attempt for dataset, attempt in wanted.items())

    async def stop(self) -> None:
        """Follow the log no longer."""
        if self._again is not None:
            self._again.cancel()
            (again,) = await asyncio.gather(self._again, return_exceptions=True)
            if not isinstance(again, BaseException):
                await again.stop()
