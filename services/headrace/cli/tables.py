"""The tables that commands print on standard output."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from headrace.bus.storing import NOT_STORED
from headrace.client.failure import without_modules
from headrace.text import lines, shown_place
from headrace_schemas.streams import LOG

if TYPE_CHECKING:
    from headrace.client.catalogue import OutputRecord
    from headrace.client.job import JobStatus
    from headrace.client.standing import ClusterStatus
    from headrace.usage import Usage
    from headrace_schemas import JobEntry

WIDTH_OF_VALUES = 60
"""Characters of a value that a table shows."""

DIGITS_OF_A_CHECKSUM = len("sha256:") + 12
"""Characters of a checksum that a table shows: enough to compare two."""

WORTH_A_LINE = 0.5
"""`headrace status` shows a stream if it is filled to at least this share. It always shows the log."""

WIDTH_OF_A_FILE = 1000
"""Characters of a line where no terminal limits it: enough for any row."""


def describe(value: Any) -> tuple[str, str]:
    """Describe type and content of a value, each in a few words.

    >>> describe([1, 2])
    ('list of 2', '[1, 2]')
    """
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        return f"{type(value).__name__} {dtype} {'x'.join(map(str, shape)) or 'scalar'}", _summary(value)
    size = f" of {len(value)}" if isinstance(value, (list, tuple, dict, set, bytes)) else ""
    short = reprlib.Repr()
    short.maxstring = short.maxother = WIDTH_OF_VALUES
    return type(value).__name__ + size, short.repr(value)


def _summary(array: Any) -> str:
    try:
        return f"{array.min():.6g} to {array.max():.6g}, mean {array.mean():.6g}"
    except (TypeError, ValueError, AttributeError):  # the array is empty, or does not hold numbers
        return reprlib.repr(array)


def print_outputs(results: Mapping[str, Any], title: str) -> None:
    """Print the outputs of a job."""
    table = new_table("output", "type", "value")
    for name, value in results.items():
        _add_row(table, name, *describe(value))
    _print(table, title)


def print_jobs(entries: Iterable[JobEntry]) -> None:
    """Print a line for each job."""
    table = new_table("job", "name", "state", "tasks", "done", "submitted", "took", "error")
    for entry in entries:
        took = f"{entry.ended - entry.submitted:.3f} s" if entry.ended else ""
        submitted = datetime.fromtimestamp(entry.submitted).strftime("%Y-%m-%d %H:%M:%S") if entry.submitted else ""
        error = without_modules(entry.error)
        _add_row(table, entry.job, entry.name, entry.state, str(entry.n_tasks), str(entry.n_done), submitted, took, error)
    _print(table)


def print_records(records: Sequence[OutputRecord], title: str = "") -> None:
    """Print a line for each output of the catalogue."""
    table = new_table("output", "job", "metadata", "type", "bytes", "where", "checksum")
    for record in records:
        metadata = " ".join(f"{key}={_plain(value)}" for key, value in record.metadata.items())
        kind = f"{record.dtype} {'x'.join(map(str, record.shape)) or 'scalar'}" if record.shape is not None else record.encoding
        where = shown_place(record.location) or (f"host {record.host}" if record.host else "the log")
        _add_row(table, record.name, record.job, metadata, kind, str(record.bytes), where, record.checksum[:DIGITS_OF_A_CHECKSUM])
    _print(table, title)


def _plain(value: Any) -> str:
    """Text unchanged, everything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def print_status(status: JobStatus) -> None:
    """Print the state of one job."""
    table = new_table("job", status.id)
    for name, value in (
        ("name", status.name),
        ("state", status.state),
        ("tasks", f"{status.n_tasks}: " + ", ".join(f"{count} {state}" for state, count in status.tasks.items() if count)),
        ("outputs", f"{status.available} of {status.outputs} made"),
        ("hosts", ", ".join(status.hosts)),
        ("waits", status.waits),
        ("error", status.error),
    ):
        if value:
            _add_row(table, name, value)
    _print(table)


def print_cluster(status: ClusterStatus) -> None:
    """Print the state of a cluster, with a line for each stream that fills up."""
    table = new_table("cluster", "")
    missing = [name for name, leads in status.leading.items() if not leads]
    _add_row(table, "hosts", ", ".join(status.hosts) or "none: start a worker")
    _add_row(table, "leading", ", ".join(name for name, leads in status.leading.items() if leads))
    if missing:
        _add_row(table, "not leading", f"{', '.join(missing)}: check whether each is running")
    _add_row(table, "jobs", f"{status.jobs} unfinished")
    for name, usage in status.streams.items():
        if name == LOG.name or usage.share >= WORTH_A_LINE:
            _add_row(table, f"stream {name}", _fullness(usage) + ("" if status.admits or name != LOG.name else ": no new jobs admitted"))
    for service, streams in status.unreadable.items():
        for stream, found in streams.items():
            told = (
                f"{counted(found['count'], 'message')} of {stream}; the last one is {found['seq']}, on {found['subject']}: {found['why']}"
            )
            _add_row(table, f"{service} skipped", told)
    if status.unstored:
        who, seconds = ", ".join(status.unstored), max(status.unstored.values())
        _add_row(table, "NATS", f"{NOT_STORED.format(seconds=seconds)}. Reported by {who}")
    for host, sentences in status.trouble.items():
        for sentence in sentences:
            _add_row(table, host, sentence)
    _print(table)


def _fullness(usage: Usage) -> str:
    return f"{usage.bytes / 1e6:,.1f} MB" + (f", {usage.share:.0%} of {usage.limit / 1e6:,.1f} MB" if usage.limit else "")


def counted(number: int, what: str) -> str:
    """Write a number of things in words.

    >>> counted(1, "task"), counted(3, "task")
    ('1 task', '3 tasks')
    """
    return f"{number} {what}{'s' * (number != 1)}"


def new_table(*columns: str, pad_edge: bool = True) -> Table:
    """Create a table without a frame. pad_edge: with a blank at both sides."""
    table = Table(box=SIMPLE, show_edge=False, pad_edge=pad_edge)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _add_row(table: Table, *cells: str) -> None:
    table.add_row(*map(as_it_is, cells))


def as_it_is(text: str, style: str = "") -> Text:
    """Convert text of other users: without rich's markup, and without control characters for the terminal."""
    return Text(lines(text), style=style)


def _print(table: Table, title: str = "") -> None:
    """Print the table to fit the terminal; a file or a pipe gets whole lines. The title is a line of its own, however narrow the table."""
    console = Console()
    if title:
        console.print(as_it_is(title), soft_wrap=True)
    Console(width=None if console.is_terminal else WIDTH_OF_A_FILE).print(table)
