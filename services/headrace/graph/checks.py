"""Checks of the names and counts that a user gives."""

from __future__ import annotations

import operator
from typing import Any

from headrace.errors import GraphError
from headrace.metadata import check_metadata

MAX_NAME = 1000
"""Most characters in a name. Names appear in messages, logs and error texts; a longer one is probably a mistake."""

MAX_RETRIES = 1_000
"""Most retries of each task of a function. The wire contract has the same limit, but building a graph does not import it."""


def check_name(name: Any, what: str = "a task") -> str:
    """Check a name. Raises GraphError if it is invalid; `what` says in errors what it names."""
    if not isinstance(name, str):
        raise GraphError(f"the name of {what} is a str, not {type(name).__name__}: {name!r:.80}")
    if not name:
        raise GraphError(f"the name of {what} is empty: omit it to have one generated")
    if len(name) > MAX_NAME:
        raise GraphError(f"the name of {what} has {len(name)} characters, more than {MAX_NAME}: {name[:60]!r}...")
    return name


def check_count(count: Any, what: str, least: int) -> int:
    """Check that a count is an integer of at least `least`, and return it as an int. Raises GraphError otherwise."""
    try:
        value = operator.index(count)
    except TypeError:
        raise GraphError(f"{what} is an int of at least {least}, not {count!r:.80}") from None
    if value < least:
        raise GraphError(f"{what} is an int of at least {least}, not {value}")
    return value


def check_retries(retries: Any, function: str) -> int:
    """Check a number of retries. Raises GraphError unless it is an integer from 0 to `MAX_RETRIES`."""
    count = check_count(retries, f"retries of function {function!r:.80}", 0)
    if count > MAX_RETRIES:
        raise GraphError(
            f"retries of function {function!r:.80} is {count:,}: give {MAX_RETRIES:,} or less. "
            "If a task waits for something, let its function wait"
        )
    return count


def check_outputs(outputs: Any, what: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the number of outputs, and the metadata of each if `outputs` is a list of it. `what` names their task in errors.

    Raises GraphError if `outputs` is neither a count of at least 1 nor a list of dicts.
    """
    if not isinstance(outputs, list | tuple):
        return check_count(outputs, f"outputs of {what}", 1), []
    if not outputs:
        raise GraphError(f"outputs of {what} is an empty list: give an int of at least 1, or a dict of metadata for each output")
    return len(outputs), [check_metadata(given, f"output {place} of {what}") for place, given in enumerate(outputs)]


def default_outputs(is_generator: bool, function: str) -> int:
    """Return the number of datasets of a task without `outputs`: 1.

    Raises GraphError for a generator function, whose number of yields is unknown.
    """
    if is_generator:
        raise GraphError(
            f"{function!r} is a generator function, so the number of datasets is unknown before it runs: give outputs=n "
            "(to Graph.add, hr.task or options), or return a list for a single value"
        )
    return 1
