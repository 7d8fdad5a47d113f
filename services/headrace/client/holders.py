"""Where a job's outputs are, as far as the log says: at first as of the job's end, and up to date once somebody doubts it.

The log may not be readable just then. What follows from that depends on the error:

    the log no longer has the job                      what is known stays the best there is, and nobody reads again
    NATS does not answer, or refuses, or takes long    the same for now; the next look reads again
    anything else: the connection is closed, or a      raised: it does not go away
    newer release wrote what cannot be read here
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from headrace.client.fetching import Held
from headrace.errors import ClusterFailed, HeadraceError, JetStreamRefused, NatsUnreachable, NewerSchema, NoSuchJob

if TYPE_CHECKING:
    from headrace.client.following import Following
    from headrace.ledger import JobLedger


def goes_away(error: HeadraceError) -> bool:
    """Whether it is worth while to read the log again after this error."""
    if isinstance(error, ClusterFailed):
        return not isinstance(error.__cause__, NewerSchema)
    return isinstance(error, NatsUnreachable | JetStreamRefused)


class Holders:
    """The hosts that hold outputs of a job. Nobody listens to the log once a job is over, so it is followed again when that is needed.

    problem: why the log could not be read at the last look; empty if it could."""

    def __init__(self, following: Following) -> None:
        self.problem = ""
        self._following = following
        self._again: asyncio.Task[Following] | None = None
        self._unknown = False
        """Whether the log has nothing of the job any more."""

    def of(self, datasets: Iterable[int]) -> dict[int, Held]:
        """Where outputs are, those that are somewhere."""
        ledger = self.ledger
        return {dataset: Held(host, int(ledger.made[dataset])) for dataset in datasets if (host := ledger.holder(dataset))}

    @property
    def ledger(self) -> JobLedger:
        """What is known of the job."""
        again = self._again
        if again is not None and again.done() and again.exception() is None:
            return again.result().ledger
        return self._following.ledger

    async def look(self) -> JobLedger:
        """What is known of the job, from the log as it goes on. Raises errors that stay, such as the one that ended the connection."""
        if self._unknown:
            return self.ledger
        if self._again is None:
            self._again = asyncio.ensure_future(self._following.follow_again())
        again = self._again
        try:
            await asyncio.shield(again)
        except HeadraceError as error:
            self._unknown = isinstance(error, NoSuchJob)
            if not self._unknown and not goes_away(error):
                raise
            self.problem = str(error)
            if self._again is again:
                self._again = None
        else:
            self.problem = ""
        return self.ledger

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
