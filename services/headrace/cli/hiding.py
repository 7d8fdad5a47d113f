"""Secrets on the command line, hidden from the other users of the machine: `ps` shows what stands in this process's own memory."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

SECRET_FLAGS = ("--token", "--password")
_ARGUMENTS_START = 47
"""Where /proc/PID/stat has the address of the arguments, counted from 0; the address of their end is next. See proc(5)."""
_COMMAND_END = b")"


def hide_secrets(arguments: Sequence[str]) -> None:
    """Overwrite the values of secret flags where `ps` reads them. arguments: the command line, without the program's name.

    Linux only; elsewhere, and where /proc is not mounted, nothing happens. The secret is visible until this is called.
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
    """A command line as /proc has it, each argument ended by a zero, with the values of secret flags as asterisks. The length stays."""
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
    """Where the arguments begin and end. The name of the command, in parentheses, may have spaces and parentheses of its own."""
    fields = stat[stat.rindex(_COMMAND_END) + 2 :].split()
    start, end = (int(field) for field in fields[_ARGUMENTS_START - 2 : _ARGUMENTS_START])
    if not 0 < start < end:
        raise ValueError("the kernel does not tell where the arguments are")
    return start, end
