"""Runs code of a user's file, and reduces tracebacks of its errors to the user's own frames."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from headrace.errors import HeadraceError

T = TypeVar("T")
_OWN_CODE = f"{Path(__file__).resolve().parents[1]}{os.sep}"


class UserCodeFailed(HeadraceError):
    """A graph file, or the function in it that makes the graph, raised. trace: the traceback with only the user's frames."""

    def __init__(self, message: str, trace: str) -> None:
        super().__init__(message)
        self.trace = trace


def call(path: Path, function: Callable[[], T]) -> T:
    """Call the function and return its result. Raises UserCodeFailed if it raises; `path` is the file that it is from."""
    try:
        return function()
    except Exception as error:
        shown = traceback.TracebackException.from_exception(error)
        _keep_own_frames(shown, str(path))
        from headrace.client.failure import without_modules

        raise UserCodeFailed(f"{path} raised {type(error).__name__}", without_modules("".join(shown.format()))) from error


def _keep_own_frames(shown: traceback.TracebackException, path: str) -> None:
    """Drop the frames before the first one of the file, if it has any, and all frames of this package and of the import system."""
    seen: list[traceback.TracebackException | None] = [shown]
    while seen:
        each = seen.pop()
        if each is not None:
            files = [frame.filename for frame in each.stack]
            first = files.index(path) if path in files else 0
            kept = [frame for frame in each.stack[first:] if not _is_foreign(frame.filename)]
            each.stack[:] = kept
            seen += [each.__cause__, each.__context__, *(each.exceptions or ())]


def _is_foreign(file: str) -> bool:
    return file.startswith((_OWN_CODE, "<frozen "))
