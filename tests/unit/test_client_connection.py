"""A client waits until it has read a stream; the ids of its jobs."""

from __future__ import annotations

import asyncio

import pytest

from headrace.client import connection
from headrace.client.connection import check_job_id, new_job_id, until_followed, until_read
from headrace.client.settings import Settings
from headrace.errors import ClusterFailed


class Stream:
    """A feed that has passed on nothing yet. Made on a loop."""

    def __init__(self) -> None:
        self.caught_up = asyncio.Event()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("wait", [until_read, until_followed])
def test_a_stream_that_is_not_read_in_time_is_an_error_of_the_cluster(monkeypatch: pytest.MonkeyPatch, wait: object) -> None:
    monkeypatch.setattr(connection, "SETTINGS", Settings(attach_seconds=0.0))

    async def read() -> None:
        await wait(Stream())  # type: ignore[operator]

    with pytest.raises(ClusterFailed, match="could not be read within 0 s"):
        asyncio.run(read())


def test_what_ends_a_stream_is_raised_as_it_is_or_as_the_clusters_end() -> None:
    async def read() -> None:
        stream = Stream()
        stream.ended.set_exception(KeyError("a reader's mistake"))
        with pytest.raises(KeyError):
            await until_read(stream)
        with pytest.raises(ClusterFailed, match=r"cannot follow the log: .*mistake"):
            await until_followed(stream)

    asyncio.run(read())


def test_ids_of_jobs_are_random_letters_and_digits() -> None:
    ids = [new_job_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(check_job_id(job) == job and len(job) == 12 for job in ids)
    assert set("".join(ids)) == set("abcdefghijklmnopqrstuvwxyz234567")
