"""The value that a generator task yields for a dataset with metadata of its own."""

from __future__ import annotations

from typing import Any

from headrace.metadata import check_metadata


class Output:
    """A value with metadata, yielded by a generator task for one of its datasets.

    >>> Output(3.5, step_id=6).metadata
    {'step_id': 6}

    Raises GraphError for metadata that cannot be sent.
    """

    __slots__ = ("metadata", "value")

    def __init__(self, value: Any, /, **metadata: Any) -> None:
        self.value = value
        self.metadata = check_metadata(metadata, "an hr.Output") if metadata else metadata

    def __repr__(self) -> str:
        extra = "".join(f", {key}={item!r}" for key, item in self.metadata.items())
        return f"Output({self.value!r}{extra})"
