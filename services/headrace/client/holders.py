"""The hosts that hold a job's outputs, according to the log: as of the job's end, and up to date once a caller doubts that.

If the log cannot be read at that moment, the consequence depends on the error:

    the log no longer has the job                      the last known state stays, and the log is not read again
    NATS does not answer, or refuses, or takes long    the same for now; the next look reads the log again
    any other error: the connection is closed, or a    raised, because it is permanent
    newer release wrote messages that this cannot read
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
    """Return whether reading the log again after this error may succeed."""
    if isinstance(error, ClusterFailed):
        return not isinstance(error.__cause__, NewerSchema)
    return isinstance(error, NatsUnreachable | JetStreamRefused)


class Holders:
    """The hosts that hold outputs of a job. Nobody reads the log once a job is over, so this follows the job again when it needs to.

    problem: why the log could not be read at the last look; empty if it could.
    """

    def __init__(self, following: Following) -> None:
        self.problem = ""
        self._following = following
        self._again: asyncio.Task[Following] | None = None
        self._unknown = False
        """Whether the log has nothing about the job any more."""

    def of(self, datasets: Iterable[int]) -> dict[int, Held]:
        """Return the places of those outputs that exist."""
        ledger = self.ledger
        return {dataset: Held(host, int(ledger.made[dataset])) for dataset in datasets if (host := ledger.holder(dataset))}

    @property
    def ledger(self) -> JobLedger:
        """The known state of the job."""
        again = self._again
        if again is not None and again.done() and again.exception() is None:
            return again.result().ledger
        return self._following.ledger

    async def read_ledger(self) -> JobLedger:
        """Return the current state of the job from the log. Raises permanent errors, such as the one that ended the connection."""
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
        """Return whether a host still holds these attempts of outputs."""
        ledger = await self.read_ledger()
        return all(ledger.holder(dataset) == host and int(ledger.made[dataset]) == attempt for dataset, attempt in wanted.items())

    async def stop(self) -> None:
        """Stop following the log."""
        if self._again is not None:
            self._again.cancel()
            (again,) = await asyncio.gather(self._again, return_exceptions=True)
            if not isinstance(again, BaseException):
                await again.stop()
