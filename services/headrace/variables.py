"""Settings from HEADRACE_* variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from headrace.errors import SettingsError

T = TypeVar("T", bound=msgspec.Struct)


def read_settings(cls: type[T], fields: Iterable[str], env: Mapping[str, str]) -> T:
    """A struct, each of the fields from its variable. One that is not set, or empty as in `HEADRACE_URL=`, keeps its default.

    Raises SettingsError with the variable's name if it does not fit its field.

    >>> class Settings(msgspec.Struct):
    ...     window_tasks: int = 8192
    >>> read_settings(Settings, ["window_tasks"], {"HEADRACE_WINDOW_TASKS": "64"})
    Settings(window_tasks=64)
    """
    given: dict[str, Any] = {field: text for field in fields if (text := env.get(f"HEADRACE_{field.upper()}"))}
    try:
        return msgspec.convert(given, cls, strict=False)
    except msgspec.ValidationError as error:
        what, _, field = str(error).rstrip("`").partition(" - at `$.")
        raise SettingsError(f"HEADRACE_{field.upper()} is {given.get(field)!r}: {what[:1].lower()}{what[1:]}") from None
