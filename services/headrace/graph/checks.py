"""Checks of the names and counts that a user gives."""

from __future__ import annotations

import operator
from typing import Any

from headrace.errors import GraphError
from headrace.graph.metadata import check_metadata

MAX_NAME = 1000
"""Characters in a name. Names go into messages, logs and error texts, where longer ones are a mistake rather than a name."""

MAX_RETRIES = 1_000
"""Retries of each task of a function, at most. The same as in the wire contract, which is not imported to build a graph."""


def check_name(name: Any, what: str = "a task") -> str:
    """The name, if it is one. Raises GraphError otherwise; `what` says what it was meant for."""
    if not isinstance(name, str):
        raise GraphError(f"the name of {what} is a str, not {type(name).__name__}: {name!r:.80}")
    if not name:
        raise GraphError(f"the name of {what} is empty: leave it out to have one made")
    if len(name) > MAX_NAME:
        raise GraphError(f"the name of {what} has {len(name)} characters, more than {MAX_NAME}: {name[:60]!r}...")
    return name


def check_count(count: Any, what: str, least: int) -> int:
    """The count as an int, if it is one of at least `least`. Raises GraphError otherwise."""
    try:
        value = operator.index(count)
    except TypeError:
        raise GraphError(f"{what} is an int of at least {least}, not {count!r:.80}") from None
    if value < least:
        raise GraphError(f"{what} is an int of at least {least}, not {value}")
    return value


def check_retries(retries: Any, function: str) -> int:
    """The number of retries, checked. Raises GraphError unless it is an integer from 0 to `MAX_RETRIES`."""
    count = check_count(retries, f"retries of function {function!r:.80}", 0)
    if count > MAX_RETRIES:
        raise GraphError(
            f"retries of function {function!r:.80} is {count:,}: give {MAX_RETRIES:,} or less. "
            "If a task waits for something, let its function wait"
        )
    return count


def check_outputs(outputs: Any, what: str) -> tuple[int, list[dict[str, Any]]]:
    """How many outputs there are, and the metadata of each where a list of it was given. `what` says of which task.

    Raises GraphError for what is neither a count of at least 1 nor a list of as many dicts.
    """
    if not isinstance(outputs, list | tuple):
        return check_count(outputs, f"outputs of {what}", 1), []
    if not outputs:
        raise GraphError(f"outputs of {what} is an empty list: give an int of at least 1, or a dict of metadata for each output")
    return len(outputs), [check_metadata(given, f"output {place} of {what}") for place, given in enumerate(outputs)]


def default_outputs(is_generator: bool, function: str) -> int:
    """How many datasets a task makes that was not told: 1. Raises GraphError for a generator function, whose yields cannot be known."""
    if is_generator:
        raise GraphError(
            f"{function!r} is a generator function, and how many datasets it yields is not known before it runs: give outputs=n "
            "(to Graph.add, hr.task or options), or return a list for a single value"
        )
    return 1
