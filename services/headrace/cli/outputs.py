"""`headrace outputs` and `headrace get`: list announced outputs, and save their values to files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec
import typer

from headrace.cli.tables import counted, print_records
from headrace.client.sunk import read_file
from headrace.errors import CannotWrite, NoSuchJob
from headrace.sinks.encodings import ENCODINGS, encoding_for
from headrace.sinks.endings import BY_ENDING
from headrace.sinks.places import ENDING, Named, safe
from headrace.sinks.reading import SinkFile
from headrace.sinks.writing import about
from headrace.text import plain_json

if TYPE_CHECKING:
    from headrace.client.catalogue import OutputRecord
    from headrace.client.cluster import Cluster
    from headrace.client.job import Job

Write = Callable[[IO[bytes]], object]


# --- the catalogue ------------------------------------------------------------------------------------------------------


def job_and_filters(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Split arguments into the job, if the first one names one, and the values of each KEY=VALUE.

    A value has two forms: its text, and its meaning as JSON. So "0" is also 0.

    >>> job_and_filters(["step=0", "param=2t"])
    ('', {'step': ['0', 0], 'param': ['2t']})
    """
    job = words[0] if words and "=" not in words[0] else ""
    filters = {}
    for word in words[bool(job) :]:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise typer.BadParameter(
                f"{word!r} is not a KEY=VALUE: give a job first, then metadata that its outputs must have, like step=0"
            )
        filters[key] = _meanings(text)
    return job, filters


def _meanings(text: str) -> list[Any]:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return [text]
    return [text, value, *(value if isinstance(value, list) else ())]


def show_outputs(cluster: Cluster, words: Sequence[str], *, as_json: bool) -> int:
    """Print the matching records. Raises NoSuchJob for a job that has none and that the cluster does not know."""
    job, filters = job_and_filters(words)
    records = cluster.outputs(filters, job=job or None)
    if not records and job:
        cluster.job(job)
    if as_json:
        for record in records:
            typer.echo(plain_json(msgspec.json.encode(record).decode()))
    elif records:
        print_records(records)
    else:
        typer.echo("no announced outputs" + (" have this metadata" if filters else ""), err=True)
    return 0


# --- values as files ----------------------------------------------------------------------------------------------------


def job_and_name(output: str, job: str) -> tuple[str, str]:
    """Split JOB/NAME into job and name, or return NAME and the given job. Names may have slashes; job ids have none."""
    if job:
        return job, output.removeprefix(f"{job}/")
    job, slash, name = output.partition("/")
    if not slash or not job or not name:
        raise typer.BadParameter(f"{output!r} names no job: give JOB/NAME, or --job JOB")
    return job, name


def get_output(cluster: Cluster, output: str, job_id: str, target: str, timeout: float | None, *, clobber: bool) -> int:
    """Write the value of an output to a file. Raises NoSuchJob, CannotWrite, and the errors of `Job.result`."""
    job_id, name = job_and_name(output, job_id)
    job = _job(cluster, job_id)
    record = next((record for record in cluster.outputs(job=job_id) if record.name == name), None)
    if job is None and (record is None or not record.location):
        raise NoSuchJob(f"job {job_id!r} is not in the log, and its output {name!r} is not in a sink: submit the graph again")
    ending, write = _content(job, record, name, "" if Path(target).is_dir() else Path(target).suffix.lower(), timeout)
    path = _path(target, name, ending)
    replaced = path.exists()
    if replaced and not clobber:
        raise CannotWrite(f"{path} exists: give another name, or omit --no-clobber")
    _write(path, write)
    typer.echo(f"{'replaced' if replaced else 'wrote'} {path}: {counted(path.stat().st_size, 'byte')}")
    return 0


def _job(cluster: Cluster, job: str) -> Job | None:
    try:
        return cluster.job(job)
    except NoSuchJob:
        return None


def _content(job: Job | None, record: OutputRecord | None, name: str, ending: str, timeout: float | None) -> tuple[str, Write]:
    """Return the content and its extension: the sink's file unchanged, or the value, if there is none or the user wants another format."""
    wanted = BY_ENDING.get(ending, "")
    own = Path(record.location).suffix if record is not None and record.location else ""
    if ENDING.search(ending) and not wanted and ending != own.lower():
        formats = ", ".join(dict.fromkeys([*([own] if own else []), *BY_ENDING]))
        raise CannotWrite(f"{ending} is not a known format: use the extension {formats}, or none")
    if record is not None and record.location and (not wanted or wanted == record.encoding or record.encoding not in ENCODINGS):
        data = job.read_file(record) if job is not None else read_file(record, {})
        return own, lambda file: file.write(data)
    value = _value(job, record, name, timeout)
    if isinstance(value, SinkFile):
        return Path(value.location).suffix, lambda file: file.write(value.read())
    encoding = ENCODINGS[wanted or encoding_for(value)]
    if encoding.describe is not None and record is not None:
        value = encoding.describe(value, about(Named(record.job, "", name, record.metadata)))
    return encoding.ending, lambda file: encoding.write(value, file)


def _value(job: Job | None, record: OutputRecord | None, name: str, timeout: float | None) -> Any:
    if job is None:
        assert record is not None
        return ENCODINGS[record.encoding].read(read_file(record, {}))
    try:
        return job.result(name, timeout)
    except KeyError as error:
        raise CannotWrite(str(error.args[0])) from None


def _path(target: str, name: str, ending: str) -> Path:
    """Return the file to write. Like `cp`, put it under the output's own name inside a folder, if the target is one."""
    path = Path(target)
    return path / (safe(name) + ending) if path.is_dir() else path


def _write(path: Path, write: Write) -> None:
    """Write under a temporary name first, so that a value that cannot be written leaves no file, and leaves an older one unchanged."""
    part = path.with_name(f".{path.name[:100]}.{os.getpid()}.part")
    try:
        with open(part, "x+b") as file:
            write(file)
        part.replace(path)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:  # the format does not support the value
        raise CannotWrite(
            f"the value cannot be written as {path.suffix or 'that'}: {error}. Give the file another extension, or none"
        ) from error
    finally:
        part.unlink(missing_ok=True)
