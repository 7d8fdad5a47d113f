"""Serial Python: a loop over the calls in this process. The measure of everything else, and of right and wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from benchmarks.graphs import Ref, TaskList
from benchmarks.peers import Layout, only_client


class Serial:
    """Runs calls in the order of the list and drops each value after its last use, as a person's own loop would."""

    def run(self, graph: TaskList) -> list[Any]:
        """See `Peer.run`."""
        spent = graph.spent
        values: dict[int, Any] = {}
        for index, (function, args) in enumerate(graph.calls):
            values[index] = function(*[values[arg.call] if type(arg) is Ref else arg for arg in args])
            for done in spent[index]:
                del values[done]
        return [values[index] for index in graph.outputs]

    def round_trip(self, function: Callable[..., Any], *args: Any) -> Any:
        """See `Peer.round_trip`."""
        return function(*args)

    def roles(self) -> Mapping[int, str]:
        """See `Peer.roles`."""
        return only_client()


@contextmanager
def open_peer(layout: Layout) -> Iterator[Serial]:
    """Serial Python needs neither hosts nor runners."""
    del layout
    yield Serial()
