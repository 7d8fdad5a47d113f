"""Pickles that a process with another `__main__` can load: plain ones where that is enough, cloudpickles where it is not."""

from __future__ import annotations

import pickle
import sys
from typing import Any

from headrace.pickling.sources import Sources

PROTOCOL = 5
"""Pickle protocol: the newest that every supported Python reads, and the first with buffers out of band."""


def dumps(value: Any, sources: Sources | None = None) -> bytes:
    """Pickle a value for a process with another `__main__`. sources: records where code in it came from.

    Raises any exception that pickling the value raises.
    """
    cloudpickle = sys.modules.get("cloudpickle")
    if cloudpickle is not None and cloudpickle.list_registry_pickle_by_value():
        return dumps_by_value(value, sources)
    try:
        plain = pickle.dumps(value, PROTOCOL)
    except Exception:  # a user's __reduce__ may raise anything; what cloudpickle says of the value is what counts
        return dumps_by_value(value, sources)
    return plain if b"__main__" not in plain and b"__mp_main__" not in plain else dumps_by_value(value, sources)


def dumps_by_value(value: Any, sources: Sources | None) -> bytes:
    """Pickle a value with cloudpickle. Raises any exception that pickling the value raises."""
    from headrace.pickling import by_value  # imports cloudpickle, which takes 20 ms; most graphs do without

    return by_value.dumps(value, sources=sources)
