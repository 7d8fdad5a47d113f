"""Calls the functions of tasks: loads them at first use, and binds their arguments and inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from headrace.graph.naming import task_name
from headrace.graph.templates import NO_KEYWORDS, bind
from headrace.runner.channel import Channel
from headrace.runner.failures import TaskFailure, loading_failure
from headrace.runner.functions import JobFunction
from headrace.runner.job import RunnerJob
from headrace.runner.segments import Segment
from headrace.values import Passed


class Caller:
    """Calls tasks. While a task's code runs, the channel may be nudged."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def call(self, segment: Segment, task: int, function: JobFunction, outside: dict[int, Any]) -> Any:
        """Return what a task returns. Raises TaskFailure if it cannot be called, or what the task raises.

        outside: the segment's inputs from outside its chain. The first call empties it, so that they can be freed.
        """
        job = segment.job
        called = function.callable
        if called is None:
            called = _load(job, function)
        template = job.arguments.template(task)
        datasets = job.inputs(task)
        inputs = [outside[each] if each in outside else job.take(each) for each in datasets] if datasets else []
        args, kwargs = (inputs, NO_KEYWORDS) if template is None else bind(template, inputs)
        outside.clear()
        self._channel.in_task = True
        try:
            return _call_anew(job, task, function, args, kwargs) if function.special else called(*args, **kwargs)
        finally:
            self._channel.in_task = False


def _load(job: RunnerJob, function: JobFunction) -> Callable[..., Any]:
    try:
        return function.load(job.spec.content_hash)
    except BaseException as error:
        raise TaskFailure(error, "import_failed") from None


def _call_anew(job: RunnerJob, task: int, function: JobFunction, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call a function with state of the task's own: its partial's arguments, its random numbers."""
    called = function.load(job.spec.content_hash) if function.renewed is None else _renew(job, task, function.renewed)
    if function.randomness is None:
        return called(*args, **kwargs)
    function.randomness.begin(task, called)
    result = called(*args, **kwargs)
    function.randomness.end()
    return result


def _renew(job: RunnerJob, task: int, renewed: Passed) -> Callable[..., Any]:
    try:
        called: Callable[..., Any] = renewed.fresh()
    except BaseException as error:
        raise loading_failure(error, f"while the arguments of {task_name(job.spec, task)!r} were unpickled in the runner") from None
    return called
