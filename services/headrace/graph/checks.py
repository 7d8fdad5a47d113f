"""What a user may give for names, counts and metadata."""

from __future__ import annotations

import operator
from typing import Any

from headrace.errors import GraphError

MAX_NAME = 1000
"""Characters in a name. Names go into messages, logs and error texts, where longer ones are a mistake rather than a name."""


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


def check_metadata(metadata: Any, what: str) -> dict[str, Any]:
    """The metadata, if it is a dict with str keys. Raises GraphError otherwise."""
    if not isinstance(metadata, dict) or not all(isinstance(key, str) for key in metadata):
        raise GraphError(f"the metadata of {what} is a dict with str keys, not {metadata!r:.80}")
    return metadata
