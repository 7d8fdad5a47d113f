"""docs/architecture.md says what the code says: messages, stores, files, imports, limits, and the code's words in the glossary."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
import pytest

from headrace.ledger import STATE_NAMES
from headrace.link import frames
from headrace_schemas import LogMessage, Request
from headrace_schemas.asyncapi import CHANNELS, address
from headrace_schemas.streams import BUCKETS, OBJECT_STORES, STREAMS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "services" / "headrace"
LIBRARIES = {"headrace_schemas": ROOT / "schemas", "headrace_shm": ROOT / "libs"}
TEXT = (ROOT / "docs" / "architecture.md").read_text()
SOURCES = {path: path.read_text() for folder in (ROOT / "services", *LIBRARIES.values()) for path in sorted(folder.rglob("*.py"))}
NOT_PURE = {"asyncio", "socket", "time", "threading", "os", "random"}
SECONDS = {"ms": 0.001, "s": 1, "min": 60, "h": 3_600, "day": 86_400, "days": 86_400}
FACTORS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "%": 0.01, **SECONDS}


def section(heading: str) -> str:
    """What stands below a heading, up to the next one."""
    (found,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    return str(found)


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its first two lines."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def code(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


# --- messages, streams, buckets, states -----------------------------------------------------------------------------------


class Sent(NamedTuple):
    """A kind of message on a subject, with its writer and readers."""

    message: str
    subject: str
    writer: str
    readers: tuple[str, ...]


def test_the_table_of_messages_is_the_contract() -> None:
    shown = [
        Sent(*code(message), *code(subject), writer, tuple(readers.split(", ")))
        for message, subject, writer, readers, _ in rows("Messages")
    ]
    expected = [
        Sent(message.__name__, re.sub(r"\{(\w+)\}", r"<\1>", address(channel)), channel.sender, tuple(channel.receivers))
        for channel in CHANNELS
        for message in channel.messages
    ]
    assert sorted(shown) == sorted(expected)


@pytest.mark.parametrize("message", [*get_args(LogMessage), *get_args(Request)], ids=lambda message: message.__name__)
def test_each_kind_of_message_is_in_the_table(message: type[Any]) -> None:
    assert [row for row in rows("Messages") if code(row[0]) == [message.__name__] and row[-1]]


def test_each_frame_of_a_link_is_named() -> None:
    for frame in (*get_args(frames.Frame), *get_args(frames.HandshakeFrame)):
        assert f"`{frame.__name__}`" in section("The data plane")


def test_streams_and_buckets_are_those_of_the_contract() -> None:
    shown = [name for row in rows("Streams and buckets") for name in code(row[0])]
    assert sorted(shown) == sorted(spec.name for spec in (*STREAMS, *BUCKETS, *OBJECT_STORES))


def test_the_states_of_a_task_are_those_of_the_ledger() -> None:
    assert set(re.findall(r"(?:^    |--> )(\w+)", section("A task in the ledger"), re.MULTILINE)) == set(STATE_NAMES)


# --- files, links, variables, words ---------------------------------------------------------------------------------------

PATHS = sorted({text for text in code(TEXT) if re.fullmatch(r"[\w./-]+(/|\.(py|json|md|toml))", text)})


@pytest.mark.parametrize("path", PATHS)
def test_a_file_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).exists() or (PACKAGE / path).exists()


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", TEXT))))
def test_a_link_leads_somewhere(link: str) -> None:
    path, _, anchor = link.partition("#")
    text = (ROOT / "docs" / path).read_text()
    assert not anchor or anchor in [
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in text.splitlines() if line[:1] == "#"
    ]


@pytest.mark.parametrize("variable", sorted(set(re.findall(r"HEADRACE_[A-Z_]+", TEXT))))
def test_a_variable_that_is_named_is_read(variable: str) -> None:
    name = variable.removeprefix("HEADRACE_").lower()
    assert any(variable in text or f'"{name}"' in text for text in SOURCES.values())


WORDS = [(word, in_code) for word, _, cell in rows("Glossary") for in_code in code(cell)]


@pytest.mark.parametrize(("word", "in_code"), WORDS)
def test_a_word_of_the_code_is_in_the_code(word: str, in_code: str) -> None:
    """When the code takes the word of the first column, the third one is to be emptied."""
    is_path = in_code in PATHS
    assert is_path or any(re.search(rf"\b{in_code}\b", text) for path, text in SOURCES.items()), f"{word}: {in_code}"


def test_the_glossary_is_in_order_and_has_each_word_once() -> None:
    words = [row[0].lower() for row in rows("Glossary")]
    assert words == sorted(set(words))


# --- limits -----------------------------------------------------------------------------------------------------------------


def value_of(name: str) -> Any:
    """A constant of a module, a field of one, or the default of a field of a struct, by its import path."""
    parts = name.split(".") if name.startswith("headrace_schemas") else ["headrace", *name.split(".")]
    depth = next(n for n in range(len(parts), 0, -1) if _is_module(parts[:n]))
    found: Any = importlib.import_module(".".join(parts[:depth]))
    for part in parts[depth:]:
        is_struct = isinstance(found, type) and issubclass(found, msgspec.Struct)
        found = _default(found, part) if is_struct else getattr(found, part)
    return found


def _is_module(parts: list[str]) -> bool:
    folder = LIBRARIES.get(parts[0], ROOT / "services").joinpath(*parts)
    return folder.is_dir() or folder.with_suffix(".py").is_file()


def _default(struct: Any, field: str) -> Any:
    (found,) = [each for each in msgspec.structs.fields(struct) if each.name == field]
    return found.default


@pytest.mark.parametrize(("values", "names"), [row[1:] for row in rows("Bounds")], ids=lambda cell: cell.replace("`", ""))
def test_limits_have_the_values_that_are_shown(values: str, names: str) -> None:
    shown = [value.partition(" ") for value in values.split(", ")]
    expected = [float(number.replace(",", "")) * FACTORS[unit] for number, _, unit in shown]
    assert [value_of(name) for name in code(names)] == pytest.approx(expected)


# --- rooms ------------------------------------------------------------------------------------------------------------------


def layers() -> list[list[str]]:
    """The rooms in the picture, by layer, the highest first."""
    drawn = re.findall(r"subgraph \w+\n(.*?)\n    end", section("Rooms"), re.DOTALL)
    return [[re.sub(r'\w+\["(\w+)"\]', r"\1", room.strip()) for room in layer.split(";")] for layer in drawn]


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, also within functions; not those for types alone."""
    waiting: list[ast.AST] = [ast.parse(SOURCES[path])]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
        if not (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"):
            waiting += ast.iter_child_nodes(node)


def test_every_room_is_in_the_picture_once() -> None:
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()} - {"__init__", "__main__"}
    assert sorted(room for layer in layers() for room in layer) == sorted(there | set(LIBRARIES))


def test_the_picture_shows_the_layers_that_lint_checks() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if each["type"] == "layers"]
    assert layers()[:-1] == [layer.split(" | ") for layer in contract["layers"]]


MACHINES = [path for row in rows("Pure machines and shells") for path in code(row[0]) if path.endswith(".py")]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_is_pure(machine: str) -> None:
    allowed = {"time"} if machine == "bus/tenure.py" else set()
    found = {module.partition(".")[0] for module in imports(PACKAGE / machine)}
    assert not found & NOT_PURE - allowed
