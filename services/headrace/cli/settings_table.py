"""The table of all variables: `python -m headrace.cli.settings_table docs/settings.md` writes it.

It is generated from the settings structs (`VARIABLES`, types, defaults and the docstrings of fields) and from the flags of the commands.
Only `SETTINGS`, which says which processes read a struct, and the exceptions below it are written here.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import typer

from headrace.bus.settings import BusSettings, SecretFiles, Times
from headrace.cli.app import app
from headrace.client.settings import Settings as Client
from headrace.controller.settings import Limits, RoomSettings
from headrace.controller.settings import Settings as Controller
from headrace.logs import LogSettings
from headrace.publisher.settings import FetchLimits
from headrace.publisher.settings import Settings as Publisher
from headrace.scheduler.settings import Settings as Scheduler
from headrace.telemetry.tracing import TracingSettings
from headrace.worker.settings import Settings as Worker
from headrace.worker.threads import ThreadSettings

ALL = "every process"
SERVICES = "every service"
SETTINGS: list[tuple[str, type[msgspec.Struct]]] = [
    (ALL, BusSettings),
    (ALL, SecretFiles),
    (ALL, Times),
    (SERVICES, LogSettings),
    (ALL, TracingSettings),
    ("controller", Controller),
    ("controller", Limits),
    ("controller", RoomSettings),
    ("scheduler", Scheduler),
    ("publisher", Publisher),
    ("publisher", FetchLimits),
    ("worker", Worker),
    ("worker", ThreadSettings),
    ("client", Client),
]
"""All settings structs, each with the processes that read its variables."""
READERS = {
    "HEADRACE_REPLICAS": [SERVICES],
    "HEADRACE_METRICS": [SERVICES],
    "HEADRACE_SINKS": ["controller", "worker", "runner", "publisher"],
}
"""The processes that read a variable, where they are not those of the struct. A runner inherits the environment of its worker."""
KINDS = {"_seconds": "duration", "_bytes": "size"}
"""The type of a field whose name ends like this, whatever its Python type."""
TYPES = {"int": "number", "float": "number", "dict": "name=amount,..."}
"""The same by a word in its Python type. All others are text."""

HEAD = """# Settings

Services and commands read their settings from flags, or else from environment variables. This page lists all of these variables;
`make settings` writes it from the code. All other tunables, with their reasons, are in `services/headrace/*/settings.py`.

- A variable that is empty counts as not set.
- A *duration* is a number of seconds, or a number with a unit (`ms`, `s`, `m`, `h` or `d`), like `90s` or `24h`.
- A *size* is a number of bytes, or a number with a unit: `K`, `M`, `G` or `T` (powers of 1000), `Ki`, `Mi`, `Gi` or `Ti` (powers of 1024).
- A service reads its variables when it starts. Give all processes of one kind the same values: a standby takes over with its own.
- `docker-compose.yml` passes on those that `.env.example` shows, and takes the image of all services from `HEADRACE_IMAGE`.

| variable | flag | type | default | read by | what it sets, and why |
|---|---|---|---|---|---|
"""


class Row(NamedTuple):
    """A variable, as the table shows it."""

    variable: str
    flag: str
    kind: str
    default: str
    readers: list[str]
    text: str


def rows() -> list[Row]:
    """Return a row for each variable, in the order of `SETTINGS`. A variable of several structs has the words of the first."""
    found: dict[str, Row] = {}
    shown = flags()
    for reader, struct in SETTINGS:
        fields, texts = {field.name: field for field in msgspec.structs.fields(struct)}, docstrings(struct)
        for name, variable in variables(struct).items():
            row = Row(variable, shown.get(variable, ""), _kind(fields[name]), _default(fields[name]), [], texts[name])
            found.setdefault(variable, row).readers.append(reader)
    return [row._replace(readers=READERS.get(row.variable, row.readers)) for row in found.values()]


def document() -> str:
    """Return the page as Markdown."""
    return HEAD + "".join(_line(row) for row in rows())


def variables(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return the variables of a struct by field; none if users set no field of it."""
    return dict(getattr(struct, "VARIABLES", {}))


def docstrings(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return the docstring below each field of a struct that has one."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    assert isinstance(body, ast.ClassDef)
    pairs = zip(body.body, body.body[1:], strict=False)
    return {_field(node): " ".join(text.split()) for node, after in pairs if (text := _text(after)) and _field(node)}


def flags() -> dict[str, str]:
    """Return the flag of each variable that a command has a flag for."""
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    options = [option for command in commands.values() for option in command.params if getattr(option, "envvar", None)]
    return {option.envvar: max(option.opts, key=len) for option in options}


def _text(node: ast.stmt) -> str:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return node.value.value if is_text else ""  # type: ignore[attr-defined]


def _field(node: ast.stmt) -> str:
    """Return the name of the field that a statement declares; empty if it declares none."""
    return node.target.id if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else ""


def _kind(field: msgspec.structs.FieldInfo) -> str:
    of_name = [kind for suffix, kind in KINDS.items() if field.name.endswith(suffix)]
    of_type = [kind for word, kind in TYPES.items() if re.search(rf"\b{word}\b", getattr(field.type, "__name__", "") or repr(field.type))]
    return [*of_name, *of_type, "text"][0]


def _default(field: msgspec.structs.FieldInfo) -> str:
    default = field.default
    if field.name.endswith("_seconds"):
        return _shown_seconds(default)
    return f"`{default}`" if isinstance(default, str | int) and default else ""


def _shown_seconds(seconds: float) -> str:
    """Format a duration as a variable may have it.

    >>> _shown_seconds(86_400.0), _shown_seconds(600.0), _shown_seconds(2.5)
    ('`24h`', '`10m`', '`2.5s`')
    """
    size, unit = next((each for each in ((3600, "h"), (60, "m")) if seconds >= 2 * each[0] and seconds % each[0] == 0), (1, "s"))
    return f"`{seconds / size:g}{unit}`"


def _line(row: Row) -> str:
    cells = [f"`{row.variable}`", f"`{row.flag}`" if row.flag else "", row.kind, row.default, ", ".join(row.readers)]
    text = re.sub(r"(?<!`)\bHEADRACE_\w+", r"`\g<0>`", row.text)
    return f"| {' | '.join([*cells, text])} |\n"


def main(arguments: list[str]) -> int:
    """Write the page to the path that is given, or print it."""
    if arguments:
        Path(arguments[0]).write_text(document())
    else:
        sys.stdout.write(document())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
