"""Making arrays read-only, for values that pass from task to task as they are."""

from collections.abc import Iterable
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def freeze(value: T) -> T:
    """Mark the numpy arrays in `value` read-only and return it: itself, or one level inside a tuple, list or dict.

    So a task that writes into its input fails in a chain just as it does where the input is mapped from shared
    memory. Only these array objects change: a writable base that the producer kept can still change them.

    >>> import numpy as np
    >>> freeze([np.zeros(3), "x"])[0].flags.writeable
    False
    """
    if isinstance(value, np.ndarray):
        value.setflags(write=False)
    elif isinstance(value, (tuple, list)):
        _freeze_each(value)
    elif isinstance(value, dict):
        _freeze_each(value.values())
    return value


def _freeze_each(items: Iterable[object]) -> None:
    for item in items:
        if isinstance(item, np.ndarray):
            item.setflags(write=False)
