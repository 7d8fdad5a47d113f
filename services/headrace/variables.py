"""Reads settings from HEADRACE_* variables."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from headrace.errors import SettingsError
from headrace.sizes import parse_duration

SHARED_MEMORY = Path("/dev/shm")
"""The folder where Linux keeps files in memory."""

T = TypeVar("T", bound=msgspec.Struct)


def read_settings(cls: type[T], env: Mapping[str, str], **found: Any) -> T:
    """Read a settings struct: each field that `cls.VARIABLES` maps to a variable, from this variable. found: fields that have been read.

    A variable that is not set, or empty as in `HEADRACE_URL=`, keeps the default. That of a field that ends in `_seconds` may be a duration
    like `90s` or `24h`. Raises SettingsError, which names the variable, if its value does not fit the field.

    >>> class Settings(msgspec.Struct):
    ...     VARIABLES: ClassVar[dict[str, str]] = {"window_tasks": "HEADRACE_WINDOW_TASKS"}
    ...     window_tasks: int = 8192
    >>> read_settings(Settings, {"HEADRACE_WINDOW_TASKS": "64"})
    Settings(window_tasks=64)
    """
    variables: dict[str, str] = cls.VARIABLES  # type: ignore[attr-defined]
    names = {field: name for field, name in variables.items() if field not in found and env.get(name)}
    given = {field: duration(name, env) if field.endswith("_seconds") else env[name] for field, name in names.items()}
    try:
        return msgspec.structs.replace(msgspec.convert(given, cls, strict=False), **found)
    except msgspec.ValidationError as error:
        what, _, field = str(error).rstrip("`").partition(" - at `$.")
        raise SettingsError(f"{names[field]} is {env[names[field]]!r}: {what[:1].lower()}{what[1:]}") from None


def duration(variable: str, env: Mapping[str, str]) -> float:
    """Read seconds from a variable that is set, like `90s` or `24h`. Raises SettingsError, which names it, if its value is no duration."""
    try:
        return parse_duration(env[variable])
    except ValueError as error:
        raise SettingsError(f"{variable}: {error}") from None


def shm_folder(chosen: str = "") -> Path:
    """Return the folder for shared memory.

    It is the chosen one (HEADRACE_SHM_DIR or `--shm-dir`), or else /dev/shm if it is usable, or else the temporary folder. headrace_shm has
    the same rule, but this does not import it.
    """
    if chosen:
        return Path(chosen)
    return SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
