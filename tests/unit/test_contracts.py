"""The import contracts in pyproject.toml cover what they say they cover."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "services" / "headrace"
WITH_MACHINES = ["controller", "scheduler", "publisher"]


def purity() -> tuple[set[str], set[str]]:
    """The modules with decisions, and what they may not import."""
    contracts: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (found,) = [each for each in contracts if "asyncio" in each.get("forbidden_modules", ())]
    return set(found["source_modules"]), set(found["forbidden_modules"])


def imported(path: Path) -> set[str]:
    """The modules that a file imports, by the first part of their names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").partition(".")[0])
    return names


def without_io(package: str) -> set[str]:
    """The modules of a package that import nothing of what those with decisions may not import."""
    _, io = purity()
    found = [path for path in (PACKAGES / package).glob("*.py") if path.stem != "__init__" and not imported(path) & io]
    return {f"headrace.{package}.{path.stem}" for path in found}


@pytest.mark.parametrize("package", WITH_MACHINES)
def test_every_module_without_io_is_kept_free_of_it(package: str) -> None:
    kept, _ = purity()
    assert without_io(package) == {name for name in kept if name.startswith(f"headrace.{package}.") and not name.endswith(".*")}


def test_planners_do_no_io() -> None:
    kept, _ = purity()
    assert "headrace.scheduler.planners.*" in kept


def test_the_worker_keeps_its_modules_without_io_in_one_package() -> None:
    kept, _ = purity()
    assert "headrace.worker.agent.*" in kept
    assert not without_io("worker")
