"""What a user may give for names, counts and metadata."""

from __future__ import annotations

import math
import operator
from typing import Any

from headrace.errors import GraphError

MAX_NAME = 1000
"""Characters in a name. Names go into messages, logs and error texts, where longer ones are a mistake rather than a name."""


MAX_METADATA = 64 * 1024
"""Bytes of the metadata of one dataset, as JSON. It travels in messages of up to half a megabyte, twice where a task and its yield both
give some; what is larger is data and belongs into the value."""
MAX_RETRIES = 1_000
"""Of a function's tasks, as in the wire contract (which is not imported to build a graph)."""
MAX_INT, MIN_INT = 2**64 - 1, -(2**63)
"""The integers that both JSON readers and msgpack take."""
_PLAIN = frozenset({str, bool, type(None)})


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
    """How often to try again. Raises GraphError for what is no number from 0 to `MAX_RETRIES`."""
    count = check_count(retries, f"retries of function {function!r:.80}", 0)
    if count > MAX_RETRIES:
        raise GraphError(
            f"retries of function {function!r:.80} is {count:,}, and a task is tried again at most {MAX_RETRIES:,} times: give less. "
            "Where a task waits for something, let it wait in its function"
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
    return len(outputs), [dict(check_metadata(given, f"output {place} of {what}")) for place, given in enumerate(outputs)]


def default_outputs(is_generator: bool, function: str) -> int:
    """How many datasets a task makes that was not told: 1. Raises GraphError for a generator function, whose yields cannot be known."""
    if is_generator:
        raise GraphError(
            f"{function!r} is a generator function, and how many datasets it yields is not known before it runs: give outputs=n "
            "(to Graph.add, hr.task or options), or return a list for a single value"
        )
    return 1


def check_metadata(metadata: Any, what: str) -> dict[str, Any]:
    """The metadata, if it can travel. `what` says whose it is: "task 'load-3'".

    It can if it is a dict with str keys throughout, its values are what JSON and msgpack carry (str, int of 64 bits, finite float, bool,
    None, lists and dicts of them, dates and times), and it has up to `MAX_METADATA` bytes as JSON. Raises GraphError otherwise.
    """
    import msgspec  # most graphs have no metadata, and are built without it

    if not isinstance(metadata, dict):
        raise GraphError(f"the metadata of {what} is a dict with str keys, not {metadata!r:.80}")
    try:
        _check_value(metadata)
        size = len(msgspec.json.encode(metadata))
        msgspec.msgpack.encode(metadata)
    except RecursionError:
        raise GraphError(f"the metadata of {what} contains itself or is nested too deep") from None
    except Exception as error:
        raise GraphError(
            f"the metadata of {what} cannot be sent as JSON: {error}. Use str, int, float, bool, None, lists and dicts with str keys"
        ) from None
    if size > MAX_METADATA:
        raise GraphError(f"the metadata of {what} has {size:,} bytes as JSON, more than {MAX_METADATA:,}: put what is large into the value")
    return metadata


def _check_value(value: Any) -> None:
    """Raises ValueError for what the encoders would change without a word, or one of them refuses: keys, numbers."""
    kind = type(value)
    if kind in _PLAIN:
        return
    if kind is int:
        if not MIN_INT <= value <= MAX_INT:
            raise ValueError("an int has more than 64 bits")
    elif kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{value} is no number in JSON")
    elif isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise ValueError(f"the key {key!r:.80} is no str")
            _check_value(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            _check_value(item)
