"""The catalogue of outputs, built from the announcements on the stream `OUTPUTS`, which outlives the log.

A record is found by its metadata:

    job.outputs(param="2t", step=0)            # equal to these
    cluster.outputs(param=["u", "v"])          # equal to one of these
    job.outputs({"valid time": "2026-03-01"})  # keys that are not Python names
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.bus import Bus, Record
from headrace.bus.reading import Claim, Reader
from headrace.client.connection import until_followed
from headrace.client.settings import SETTINGS
from headrace.metadata import plain
from headrace_schemas import Published, subjects
from headrace_schemas.streams import OUTPUTS

_MISSING = object()
PUBLISHER = "publisher"
"""The service that announces outputs."""


@dataclass(frozen=True)
class OutputRecord:
    """One announced output.

    job, dataset: its origin: the job's id, and the output's id in the graph. bytes: size of its encoded value, or of its file in a sink.
    location: place of its file in a sink; empty for an output that is held for the client on `host`, or that travelled in the log.
    encoding: format of the file in a sink. checksum: "sha256:" and the digest of the file, or of the encoded value that travelled in the
    log; empty for an output that is held. dtype, shape: of an array.
    """

    name: str
    job: str
    dataset: int
    metadata: dict[str, Any]
    location: str = ""
    bytes: int = 0
    checksum: str = ""
    encoding: str = ""
    dtype: str = ""
    shape: tuple[int, ...] | None = None
    host: str = ""


class Catalogue:
    """Records of outputs by job and dataset. The first announcement of an output counts; there is only one."""

    def __init__(self) -> None:
        self._jobs: dict[str, dict[int, OutputRecord]] = {}

    def __len__(self) -> int:
        """Return the number of outputs."""
        return sum(map(len, self._jobs.values()))

    def count(self, job: str) -> int:
        """Return the number of outputs of one job."""
        return len(self._jobs.get(job, ()))

    def add_announcement(self, published: Published) -> None:
        """Add an announcement."""
        records = self._jobs.setdefault(published.job, {})
        for output in published.outputs:
            fields = {name: getattr(output, name) for name in output.__struct_fields__}
            fields["shape"] = None if output.shape is None else tuple(output.shape)
            records.setdefault(output.dataset, OutputRecord(job=published.job, **fields))

    def find(self, matches: Callable[[OutputRecord], bool]) -> list[OutputRecord]:
        """Return the matching records, by job in the order of their first announcement, and within a job in the order of the graph."""
        return [records[dataset] for records in self._jobs.values() for dataset in sorted(records) if matches(records[dataset])]


def having(where: Mapping[str, Any] | None, metadata: Mapping[str, Any]) -> Callable[[OutputRecord], bool]:
    """Return a function that checks whether a record's metadata has all these keys with equal values.

    If a value in `where` is a list, it is enough that one of its items is equal.
    """
    wanted = [(key, _alternatives(value)) for key, value in {**(where or {}), **metadata}.items()]

    def matches(record: OutputRecord) -> bool:
        return all(any(_equal(record.metadata.get(key, _MISSING), value) for value in values) for key, values in wanted)

    return matches


def _alternatives(wanted: Any) -> list[Any]:
    """Return the value in JSON form (dates and times are text there), and its items if it is a list or similar."""
    found = _as_metadata(list(wanted) if isinstance(wanted, range) else wanted)
    return [
        found,
        *(map(_as_metadata, wanted) if isinstance(wanted, range | set | frozenset) else found if isinstance(found, list) else ()),
    ]


def _as_metadata(value: Any) -> Any:
    """Convert a value as metadata is converted."""
    try:
        return plain(value)
    except (TypeError, ValueError):  # no output can have this value, but it can be compared
        return value


def _equal(value: Any, wanted: Any) -> bool:
    """Return whether the values are equal, without taking True for 1."""
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


async def read_catalogue(bus: Bus, job: str = "", expected: Mapping[str, int] | None = None) -> Catalogue:
    """Read the announcements so far, of one job or of all.

    expected: for jobs that are done, the number of outputs that are announced, now or soon; this waits for them briefly. Raises
    ClusterFailed if the stream cannot be read, or not in time.
    """
    catalogue, more = Catalogue(), asyncio.Event()

    reader = Reader(bus.reading, OUTPUTS.name)
    latest = await bus.terms.latest(PUBLISHER)

    def on_records(records: list[Record]) -> None:
        for record in records:
            found = reader.read(record)
            if isinstance(found, Claim):  # the term does not matter here, unless the message cannot be read
                found = found.entry or reader.settle(found, not latest or bus.terms.known(PUBLISHER, found.term))
            if found is not None and isinstance(found.message, Published):
                catalogue.add_announcement(found.message)
        more.set()

    wanted = subjects.outputs_of(job) if job else [subjects.ALL_OUTPUTS]
    first = await bus.first_seq(OUTPUTS.name, *wanted) if job else 1
    feed = await bus.follow(OUTPUTS.name, wanted, on_records, from_seq=first or 1)
    try:
        await until_followed(feed)
        await _until_announced(catalogue, more, expected or {})
    finally:
        await feed.close()
    return catalogue


async def _until_announced(catalogue: Catalogue, more: asyncio.Event, expected: Mapping[str, int]) -> None:
    """Wait for the last outputs of done jobs, which are announced a little later.

    Outputs that were released before are not waited for.
    """
    try:
        async with asyncio.timeout(SETTINGS.announce_seconds):
            while any(catalogue.count(job) < outputs for job, outputs in expected.items()):
                more.clear()
                await more.wait()
    except TimeoutError:
        return
