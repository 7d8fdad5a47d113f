"""Checks what tasks return: as many values as they were declared with, values that can be pickled, metadata that can be sent."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, cast

from headrace.errors import GraphError
from headrace.graph.output import Output
from headrace.metadata import check_metadata
from headrace.runner.failures import BadOutput, TaskFailure
from headrace.runner.job import RunnerJob
from headrace.values import Encoded, NotPicklable, encode


def iterate(result: Any, n_outputs: int) -> Iterator[Any]:
    """Return an iterator over the values of a task with several outputs, which may compute them only now.

    Raises TaskFailure if the result cannot be iterated, or has a length that is not `n_outputs`.
    """
    try:
        iterator: Iterator[Any] = iter(result)
    except TypeError as error:
        text = f"declared with outputs={n_outputs}, but returned one {type(result).__name__}: {error}"
        raise TaskFailure(BadOutput(text), "bad_output") from None
    if isinstance(result, Sized) and len(result) != n_outputs:
        raise miscounted(n_outputs, f"returned {len(result)} values")
    return iterator


def miscounted(n_outputs: int, found: str) -> TaskFailure:
    """Return the failure of a task with another number of outputs than it was declared with. found: what it did instead."""
    return TaskFailure(BadOutput(f"declared with outputs={n_outputs}, but {found}"), "bad_output")


def checked_metadata(job: RunnerJob, dataset: int, output: Output) -> dict[str, Any]:
    """Return the metadata of an output. Raises TaskFailure if it cannot be sent."""
    try:
        return check_metadata(output.metadata, job.dataset_name(dataset))
    except GraphError as error:
        raise TaskFailure(error, "bad_output") from None


def encode_result(value: Any) -> Encoded:
    """Encode a value that leaves its chain. Raises TaskFailure."""
    try:
        return encode(value)
    except BaseException as error:
        raise pickling_failure(error) from None


def pickling_failure(error: BaseException) -> TaskFailure:
    """Return the failure of a task whose result cannot be pickled."""
    if issubclass(type(error), TaskFailure):
        return cast(TaskFailure, error)
    if issubclass(type(error), NotPicklable):
        return TaskFailure(error, "unpicklable")
    return TaskFailure(error, doing="while its result was pickled in the runner")
