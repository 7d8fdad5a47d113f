"""The functions of a job at one runner: loaded at first use, and how long their tasks take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.graph.functions import load_function
from headrace.runner import stateless
from headrace.runner.arguments import renewed_partial
from headrace.runner.randomness import Randomness, randomness
from headrace.values import Passed
from headrace_schemas import FunctionSpec

SMOOTHING = 0.2
"""Weight of the newest measurement in a function's expected duration."""


class JobFunction:
    """What the tasks of one function have in common."""

    __slots__ = ("callable", "count", "expected", "generator", "index", "longest", "randomness", "renewed", "seconds", "spec", "special")

    def __init__(self, index: int, spec: FunctionSpec) -> None:
        self.index = index
        self.spec = spec
        self.generator = spec.generator
        self.callable: Callable[..., Any] | None = None
        """The function itself, once it is loaded."""
        self.renewed: Passed | None = None
        """The function's pickle, if it is made anew for each task: it brings arguments that a task could change."""
        self.randomness: Randomness | None = None
        """If it draws random numbers."""
        self.special = False
        """Whether `renewed` or `randomness` is set."""
        self.expected: float | None = None
        """Seconds that a task takes, smoothed; None before the first."""
        self.count = 0
        """Number of tasks that ended since the last report. `RunnerJob.took` counts."""
        self.seconds = 0.0
        """Their durations added up."""
        self.longest = 0.0
        """The longest of their durations, in seconds."""

    def load(self, content_hash: str) -> Callable[..., Any]:
        """Return the function itself. Raises FunctionNotFound, or what unpickling raises."""
        if self.callable is None:
            known = stateless.kept(self.spec.pickled)
            self.callable = self._prepare(load_function(self.spec), content_hash) if known is None else known
        return self.callable

    def _prepare(self, function: Callable[..., Any], content_hash: str) -> Callable[..., Any]:
        self.renewed = renewed_partial(function)
        self.randomness = randomness(function, content_hash, self.renewed is not None)
        self.special = self.renewed is not None or self.randomness is not None
        if not self.special:
            stateless.keep(self.spec.pickled, function)
        return function
