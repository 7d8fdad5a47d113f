"""Random numbers of tasks: distinct for each task, and the same whenever the task runs again.

Runners are copies of one process, and a generator that travels with a function is a copy in each of them. Left alone, they would draw the
same numbers in several tasks. So before a task whose function reaches a generator (NumPy's or Python's global one, or one in its variables,
its method's object or its partial's arguments), the generator is given a state that follows from the graph's hash and the task's number.

Which generators a function reaches is looked up once, in its code. Where the code does not tell, the first task is treated as if it drew
from the global generators, and after each task the runner looks whether anything was drawn from them. Once something was, the function
counts as one that reaches them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headrace.runner.random_search import RandomSearch, distinct
from headrace.runner.random_states import Watch, get_state, global_generators, seed, set_state

if TYPE_CHECKING:
    from headrace.runner.waiting import Suspended

_watch = Watch()


class Randomness:
    """The generators that the tasks of one function draw from."""

    def __init__(self, seed: int, generators: list[Any], certain: bool, renewed: bool) -> None:
        """Prepare a function.

        Args:
            seed: the seed of the job.
            generators: those that the function reaches.
            certain: whether these are all.
            renewed: whether the function is made anew for each task, and with it the generators among its partial's arguments.
        """
        self._seed = seed
        self._renewed = renewed
        self._reached = generators
        self._watched = [] if certain else [each for each in global_generators() if not any(each is reached for reached in generators)]
        self._first = True

    def begin(self, task: int, function: Callable[..., Any]) -> None:
        """A task of the function is about to be executed."""
        if self._reached or self._first or self._renewed:
            generators = [
                *self._reached,
                *(self._watched if self._first else ()),
                *(RandomSearch(function).generators if self._renewed else ()),
            ]
            for index, generator in enumerate(distinct(generators)):
                seed(generator, self._seed, task, index)
            self._first = False
            _watch.last = None
        if self._watched and _watch.last is None:
            _watch.last = _watch.positions()

    def end(self) -> None:
        """Look whether a task drew from a global generator, after it ended or yielded."""
        if self._watched and (now := _watch.positions()) != _watch.last:
            _watch.last = now
            self._reached, self._watched = [*self._reached, *self._watched], []

    def suspend(self, generator: Suspended) -> None:
        """Save the generators' states at a yield: other tasks may be executed before this one goes on."""
        self.end()
        generator.random_states = [(each, get_state(each)) for each in self._reached]

    def resume(self, generator: Suspended) -> None:
        """Give the generators the states that they had at the yield."""
        for each, state in generator.random_states:
            set_state(each, state)
        _watch.last = _watch.positions() if self._watched else None


def randomness(function: Callable[..., Any], content_hash: str, renewed: bool) -> Randomness | None:
    """Return the generators that a function reaches; None if it certainly reaches none. renewed: see `Randomness`."""
    search = RandomSearch(function)
    if search.certain and not search.generators:
        return None
    return Randomness(int(content_hash or "0", 16), search.generators, search.certain, renewed)
