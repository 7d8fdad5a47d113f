"""Values of outputs that are in sinks: read from there, not from the hosts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from headrace.errors import HeadraceError, JobTimeout, OutputsLost, UnreadableResult
from headrace.ledger import JobLedger
from headrace_schemas import Output

AT_ONCE = 8
"""Files read at the same time: most of it is waiting for a file system."""


def published(ledger: JobLedger, datasets: Sequence[int]) -> dict[int, Output]:
    """What was announced of those of these outputs that are in sinks."""
    found = ledger.sunk.published if ledger.sunk is not None else {}
    return {dataset: found[dataset] for dataset in datasets if dataset in found}


def read_published(ledger: JobLedger, outputs: dict[int, Output], end: float) -> dict[int, Any]:
    """The values of published outputs, by dataset; until `end`, by the monotonic clock.

    Raises OutputsLost for a file that is not there, CorruptOutput for another one, UnreadableResult for what cannot be opened or decoded
    here, and JobTimeout.
    """
    with ThreadPoolExecutor(min(AT_ONCE, len(outputs)), "sink") as pool:
        return dict(zip(outputs, pool.map(partial(_read, ledger, end), outputs.values()), strict=True))


def _read(ledger: JobLedger, end: float, output: Output) -> Any:
    from headrace.sinks.reading import read  # with file systems and formats, which most jobs do without

    if time.monotonic() > end:
        raise JobTimeout(f"the outputs of job {ledger.job} were not read from their sinks in time: ask for them again")
    sink = ledger.sink_of(output.dataset)
    what = f"output {output.name!r} of job {ledger.job} at {output.location}"
    try:
        return read(output.location, output.bytes, output.checksum, output.encoding, sink.options if sink is not None else {})
    except FileNotFoundError as error:
        raise OutputsLost(f"{what} is not there, as seen from here: it was removed since, or is on a disk of another machine") from error
    except HeadraceError:
        raise
    except Exception as error:  # whatever a file system, a format or a class of the user's raises
        raise UnreadableResult(f"{what} cannot be read in this process: {type(error).__name__}: {error}") from error
