"""Reads values of outputs from their sinks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.client.failure import said
from headrace.client.settings import SETTINGS
from headrace.errors import HeadraceError, JobTimeout, OutputsLost, UnreadableResult
from headrace.ledger import JobLedger
from headrace.text import shown_place
from headrace_schemas import Output

if TYPE_CHECKING:
    from headrace.client.catalogue import OutputRecord


def published(ledger: JobLedger, datasets: Sequence[int]) -> dict[int, Output]:
    """Return the announcements of those outputs that are in sinks."""
    found = ledger.sunk.published if ledger.sunk is not None else {}
    return {dataset: found[dataset] for dataset in datasets if dataset in found}


def read_published(ledger: JobLedger, outputs: dict[int, Output], end: float) -> dict[int, Any]:
    """Read the values of published outputs, by dataset, until `end` by the monotonic clock.

    Raises OutputsLost for a missing file, CorruptOutput for a changed one, UnreadableResult for a file that cannot be opened or decoded
    here, and JobTimeout.
    """
    with ThreadPoolExecutor(min(SETTINGS.files_at_once, len(outputs)), "sink") as pool:
        return dict(zip(outputs, pool.map(partial(_read, ledger, end), outputs.values()), strict=True))


def _read(ledger: JobLedger, end: float, output: Output) -> Any:
    from headrace.sinks.reading import read  # imports file systems and formats, which most jobs do not need

    if time.monotonic() > end:
        raise JobTimeout(f"the outputs of job {ledger.job} were not read from their sinks in time: ask for them again")
    sink = ledger.sink_of(output.dataset)
    options = sink.options if sink is not None else {}
    with _told(f"output {output.name!r} of job {ledger.job} at {shown_place(output.location)}"):
        return read(output.location, output.bytes, output.checksum, output.encoding, options)


def read_file(record: OutputRecord, options: dict[str, Any]) -> memoryview:
    """Return the unchanged file of an output from its sink. options: the sink's options for the file system.

    Errors as for `read_published`.
    """
    from headrace.sinks.reading import read_bytes

    with _told(f"output {record.name!r} of job {record.job} at {shown_place(record.location)}"):
        return read_bytes(record.location, record.bytes, record.checksum, options)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Convert errors to ones that name what could not be read."""
    try:
        yield
    except FileNotFoundError as error:
        raise OutputsLost(f"{what} does not exist here: it was removed, or is on a disk of another machine") from error
    except HeadraceError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a file system, a format or a user's class may raise anything
        raise UnreadableResult(f"{what} cannot be read in this process: {said(error)}") from error
