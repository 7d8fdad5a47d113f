"""`headrace replay --record`: the decisions of a host, made again."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import typer

from headrace.errors import HeadraceError
from headrace.text import lines
from headrace.worker.agent.rerunning import rerun

DIFFERS = 1
"""Exit status if a decision differs."""


class NoRecord(HeadraceError):
    """A file with a record cannot be read."""


def replay_record(path: str) -> int:
    """Run a record again, and print the first decision that differs. Returns the exit status.

    Raises HeadraceError for a file that is no record.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise NoRecord(f"{path} cannot be read: {error.strerror}; give a file from the folder HEADRACE_RECORD") from error
    outcome = rerun(data)
    header, difference = outcome.header, outcome.difference
    if header.release != version("headrace"):
        typer.echo(f"the record is of headrace {header.release}, this is {version('headrace')}: decisions may differ for that", err=True)
    if difference is not None:
        typer.echo(lines(str(difference)))
    found = "all agree" if difference is None else "the next one differs"
    typer.echo(f"host {header.settings.host}, epoch {header.epoch}: {outcome.events} events, {outcome.answers} decisions, {found}")
    return DIFFERS if difference is not None else 0
