"""Errors of the object store. Every message says what was wrong, where, and what to do.

Each error is also of the built-in kind that a reader would expect, so `except KeyError` and `except OSError` work.
"""


class ShmError(Exception):
    """Base class of the errors of this library."""


class TooLarge(ShmError, ValueError):
    """The size can never fit, however much is released: the store is too small for it."""


class KeyExists(ShmError, ValueError):
    """The key names a block already: purge it first, or use another key."""


class UnknownKey(ShmError, KeyError):
    """No block has this name: it was never allocated, or it was purged."""

    def __str__(self) -> str:
        """Return the message itself; `KeyError` would print it in quotes."""
        return str(self.args[0]) if self.args else ""


class NotSealed(ShmError, ValueError):
    """The block is still being written, so nobody may read it."""


class ArenaFull(ShmError, OSError):
    """The file system that backs the arena has no room left; `errno` is `ENOSPC`."""


class SpillFailed(ShmError, OSError):
    """The disk that blocks are moved to cannot be written or read; `errno` is the system's, `ENOSPC` if it is full."""
