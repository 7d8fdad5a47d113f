"""Decodes the inputs that come from outside a segment's chain. Arrays are views of the arena."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any

from headrace.runner.failures import loading_failure
from headrace.runner.protocol import Location
from headrace.runner.segments import Segment
from headrace.values import decode
from headrace_shm import Arena


class Inputs:
    """Decodes inputs. let_go: gets the block of each view once the view is gone."""

    def __init__(self, arena: Arena, let_go: deque[int]) -> None:
        self._arena = arena
        self._let_go = let_go

    def decode(self, segment: Segment) -> dict[int, Any]:
        """Return the segment's inputs by dataset. Raises TaskFailure if one cannot be unpickled; the rest is dropped then."""
        values: dict[int, Any] = {}
        locations, segment.locations = segment.locations, ()
        try:
            for dataset, location in zip(segment.inputs, locations, strict=True):
                values[dataset] = decode(location) if isinstance(location, bytes) else self._view(location)
        except BaseException as error:
            segment.locations = locations[len(values) + 1 :]
            segment.drop_inputs(self._let_go)
            name = segment.job.dataset_name(segment.inputs[len(values)])
            raise loading_failure(error, f"while the input {name!r} was unpickled in the runner") from None
        return values

    def _view(self, location: Location) -> Any:
        block, offset, nbytes = location
        return decode(self._arena.readonly(offset, nbytes, partial(self._let_go.append, block)))
