"""Errors on standard output, such as a full disk. Several libraries print for the commands; here all their errors become the same one."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from headrace.errors import CannotWrite


@contextmanager
def checked_output() -> Iterator[None]:
    """Raise CannotWrite, inside the block and at its end, if standard output cannot be written. Exit quietly if its reader has gone.

    `sys.stdout` stays the same object, because users' files may hold it and send it to runners: only its methods are replaced.
    """
    out = sys.stdout
    if out is None:  # the parent process closed it
        yield
        return
    check = _Checked(out)
    out.write, out.flush = check(out.write), check(out.flush)  # type: ignore[method-assign]
    try:
        yield
    finally:
        try:
            out.flush()
        finally:
            del out.write, out.flush


class _Checked:
    """A wrapper for the methods that write to a stream.

    It remembers a failure and raises it again, because some callers (argparse) ignore it.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._failure: BaseException | None = None

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*given: Any) -> Any:
            if self._failure is not None:
                raise self._failure
            try:
                return function(*given)
            except OSError as error:
                self._failure = self._failed(error)
                raise self._failure from None

        return checked

    def _failed(self, error: OSError) -> BaseException:
        """Return the exception to raise, and discard the stream's buffer: otherwise Python would try to write it again at exit."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._out.fileno())
        os.close(nowhere)
        return SystemExit(1) if error.errno == errno.EPIPE else CannotWrite(f"cannot write to standard output: {error.strerror}")
