"""CONTRIBUTING.md names files, and words of the code, that exist."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "services" / "headrace"
FOLDERS = ("schemas", "libs", "services", "examples", "benchmarks", "observability", "tests", "docs")
FILES = [path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
IN_CODE = sorted(set(re.findall(r"`([^`\n]+)`", TEXT)))
PATHS = [text for text in IN_CODE if re.fullmatch(r"\w[\w*/-]*(/|\.(py|json|md|toml|yml))", text)]
WORDS = [text for text in IN_CODE if re.fullmatch(r"_?[A-Z]\w+(\.\w+)?", text) and not (ROOT / text).exists()]
CODE = "\n".join((ROOT / path).read_text() for path in FILES if path.suffix == ".py" and path.name != Path(__file__).name)


@pytest.mark.parametrize("path", PATHS)
def test_a_file_that_is_named_exists(path: str) -> None:
    """A file beside one that was named before may be named without its folder."""
    assert (ROOT / path).exists() or (PACKAGE / path).exists() or any(each.match(path) for each in FILES)


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_the_code_is_in_the_code(word: str) -> None:
    """Of a method, both its class and the method are."""
    assert all(re.search(rf"\b{part}\b", CODE) for part in word.split("."))


def test_each_name_of_a_test_file_is_used_once() -> None:
    names = Counter(path.name for path in FILES if path.parts[0] == "tests" and path.match("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
