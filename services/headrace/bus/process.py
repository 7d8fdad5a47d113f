"""What all service processes share: event loop, signals, log, and the guarantee that they do not outlive their parent."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from headrace.errors import HeadraceError
from headrace.logs import get_log, set_up_logging

log = get_log(__name__)
T = TypeVar("T")

GC_ALLOCATIONS = 50_000
"""Allocations between two collections of the youngest objects: some milliseconds of a busy service's work, and at most a few MB."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
POLL_SECONDS = 0.005
"""Seconds between checks, in a process that ends, whether its descendants are gone."""
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
"""The C library, loaded at import because nothing may be looked up between fork and exec."""


def parent_death_signal(parent: int = 0) -> None:
    """Ask the kernel to kill this process when the thread that started it ends (Linux; elsewhere this does nothing).

    Call it first thing in a child. With the parent's process id the child also ends if the parent died before the call. It is the *thread*
    that counts, so a process must be started from a thread that lives as long as its process does: in general the main thread.
    """
    if _libc is None:
        return
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent and os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Let descendants whose parent died become children of this process, whatever session they are in.

    This works on Linux; elsewhere it does nothing.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_descendants(seconds: float) -> bool:
    """Kill all descendants of this process, and wait for them for `seconds`. Returns whether none is left.

    Only for a process in which nothing else waits for children.
    """
    import psutil  # takes 20 ms, for which a client should not wait

    deadline = time.monotonic() + seconds
    while descendants := psutil.Process().children(recursive=True):
        for process in descendants:
            with contextlib.suppress(psutil.Error):
                process.kill()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def new_loop() -> asyncio.AbstractEventLoop:
    """Create an event loop: uvloop's if it is installed, which has half the latency of asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def tune_gc() -> None:
    """Make the garbage collector run less often, and never look at imported objects.

    A service holds hundreds of thousands of objects that live as long as their job and form no cycles. With Python's default of a
    collection every 700 allocations, scanning them took more than half of an agent's time.
    """
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 50)


async def wait_for(awaitable: Awaitable[T], timeout: float | None) -> T:
    """Wait like `asyncio.wait_for` of Python 3.12. Raises TimeoutError.

    The one of Python 3.11 drops a cancellation that arrives in the same turn of the event loop as the result
    (https://github.com/python/cpython/issues/86296). nats-py calls it in many places, and a service that was told to end during its start
    went on without end.
    """
    async with asyncio.timeout(timeout):
        return await awaitable


def keep_cancellations() -> None:
    """Make sure that no library of this process loses a cancellation in `asyncio.wait_for`."""
    if sys.version_info < (3, 12):
        asyncio.wait_for = wait_for  # type: ignore[assignment]


def run_service(main: Callable[[], Awaitable[None]], **about: str) -> int:
    """Run a service until it ends, or until SIGTERM or SIGINT, which cancel it and let it finish in order.

    about: keys of its records in the log, such as service="controller".

    Returns the exit status: 0, also after a signal, or 1 after an error, which is logged (without a traceback if it is a HeadraceError).
    """
    set_up_logging(lambda: about)
    tune_gc()
    keep_cancellations()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_supervised(main))


async def _supervised(main: Callable[[], Awaitable[None]]) -> int:
    work = asyncio.ensure_future(main())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        return 0
    except HeadraceError as error:
        log.error("the service ended with an error", kind=type(error).__name__, error=error)
        return 1
    except Exception:
        log.exception("the service ended with an error")
        return 1
    return 0
