"""Standard output that cannot be written: a full disk, say. Every command prints there, by several libraries, and all fail here."""

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
    """Within it, and at its end, what cannot be written to standard output raises CannotWrite; where the reader has gone, it ends quietly.

    The stream stays the object that it is, which users' files may hold and send to runners: only its methods are others.
    """
    out = sys.stdout
    if out is None:  # it was closed by who started this
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
    """Makes checked functions of those that write to a stream. A failure is remembered: some callers (argparse) take no notice of it."""

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
        """What to raise. What is still in the stream's buffer goes nowhere, or Python would try again at the end."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._out.fileno())
        os.close(nowhere)
        return SystemExit(1) if error.errno == errno.EPIPE else CannotWrite(f"standard output cannot be written: {error.strerror}")
