"""What a client that doubts where outputs are makes of a log that it cannot read again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headrace.client.connection import cannot_follow
from headrace.client.holders import Holders
from headrace.errors import ClusterClosed, ClusterFailed, HeadraceError, JetStreamRefused, NatsUnreachable, NewerSchema, NoSuchJob

OLD, NEW = object(), object()
"""What was known at the job's end, and what the log says now."""


class Log:
    """Follows a job again, once all errors have been raised."""

    def __init__(self, *errors: HeadraceError) -> None:
        self.ledger: Any = OLD
        self.reads = 0
        self._errors = list(errors)

    async def follow_again(self) -> Any:
        self.reads += 1
        if self._errors:
            raise self._errors.pop(0)
        again = Log()
        again.ledger = NEW
        return again

    async def stop(self) -> None:
        pass


def looked(log: Log, looks: int) -> tuple[list[object], str]:
    """What so many looks find, and the problem that is told then."""

    async def main() -> tuple[list[object], str]:
        holders = Holders(log)  # type: ignore[arg-type]
        try:
            return [await holders.read_ledger() for _ in range(looks)], holders.problem
        finally:
            await holders.stop()

    return asyncio.run(main())


@pytest.mark.parametrize(
    "error",
    [NatsUnreachable("no answer"), JetStreamRefused("busy"), ClusterFailed("not read within 30 s"), cannot_follow(NatsUnreachable("gone"))],
    ids=["no answer", "refused", "slow", "feed"],
)
def test_after_an_error_that_goes_away_it_reads_again(error: HeadraceError) -> None:
    log = Log(error, error)
    assert looked(log, 4) == ([OLD, OLD, NEW, NEW], "")
    assert log.reads == 3
    assert looked(Log(error), 1) == ([OLD], str(error))


def test_of_a_job_that_the_log_has_no_more_it_keeps_what_it_knows() -> None:
    log = Log(NoSuchJob("it has aged out"))
    assert looked(log, 3) == ([OLD, OLD, OLD], "it has aged out")
    assert log.reads == 1


@pytest.mark.parametrize("error", [ClusterClosed("closed"), cannot_follow(NewerSchema("newer"))], ids=["closed", "newer"])
def test_an_error_that_stays_is_raised(error: HeadraceError) -> None:
    with pytest.raises(type(error), match=str(error)):
        looked(Log(error), 1)


def test_many_who_look_at_a_time_read_once() -> None:
    async def main() -> list[object]:
        holders = Holders(log)  # type: ignore[arg-type]
        return await asyncio.gather(*(holders.read_ledger() for _ in range(5)))

    log = Log(NatsUnreachable("no answer"))
    assert asyncio.run(main()) == [OLD] * 5
    assert log.reads == 1
