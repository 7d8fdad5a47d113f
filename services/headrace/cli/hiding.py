"""Hides secrets of the command line from other users of the machine, by overwriting the memory of this process that `ps` shows."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

SECRET_FLAGS = ("--token", "--password")
_ARGUMENTS_START = 47
"""Field of /proc/PID/stat with the address of the arguments, counted from 0; the next field is the address of their end. See proc(5)."""
_COMMAND_END = b")"


def hide_secrets(arguments: Sequence[str]) -> None:
    """Overwrite the values of secret flags where `ps` reads them. arguments: the command line, without the program's name.

    This works on Linux only; elsewhere, and where /proc is not mounted, it does nothing. The secret is visible until this is called.
    """
    if not any(argument.partition("=")[0] in SECRET_FLAGS for argument in arguments):
        return
    try:
        start, end = _place(Path("/proc/self/stat").read_bytes())
    except (OSError, ValueError, IndexError):
        return
    memory = (ctypes.c_char * (end - start)).from_address(start)
    masked = mask(memory.raw)
    ctypes.memmove(start, masked, len(masked))


def mask(command_line: bytes) -> bytes:
    """Replace the values of secret flags with asterisks. command_line: as in /proc, each argument ended by a zero. The length stays."""
    shown, follows = [], False
    for argument in command_line.split(b"\0"):
        flag, separator, value = argument.partition(b"=")
        is_secret = flag.decode(errors="replace") in SECRET_FLAGS
        if follows:
            shown.append(b"*" * len(argument))
        elif is_secret and separator:
            shown.append(flag + separator + b"*" * len(value))
        else:
            shown.append(argument)
        follows = is_secret and not separator and not follows
    return b"\0".join(shown)


def _place(stat: bytes) -> tuple[int, int]:
    """Start and end address of the arguments. The name of the command, in parentheses, may itself have spaces and parentheses."""
    fields = stat[stat.rindex(_COMMAND_END) + 2 :].split()
    start, end = (int(field) for field in fields[_ARGUMENTS_START - 2 : _ARGUMENTS_START])
    if not 0 < start < end:
        raise ValueError("the kernel does not give the address of the arguments")
    return start, end
