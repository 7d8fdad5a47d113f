"""The lock files hold what pyproject.toml asks for, on every Python and platform, and nothing but names, releases and hashes."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
GROUPS = {"core": [], **{extra: EXTRAS[extra] for extra in EXTRAS}}
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


@cache
def locked(group: str) -> list[Requirement]:
    lines = (CHECKOUT / "requirements" / f"{group}.txt").read_text().splitlines()
    return [Requirement(line.rstrip(" \\")) for line in lines if re.match(r"[a-z]", line)]


def asked(group: str) -> list[Requirement]:
    """The requirements of a group and of the core; an extra that names other extras of Headrace stands for theirs."""
    found: list[Requirement] = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    for requirement in map(Requirement, GROUPS[group]):
        if requirement.name == "headrace":
            found += [Requirement(text) for extra in requirement.extras for text in EXTRAS[extra]]
        else:
            found.append(requirement)
    return found


def environment(python: str) -> dict[str, str]:
    return {"python_version": python, "python_full_version": f"{python}.5", "sys_platform": "linux", "platform_system": "Linux"}


def release(group: str, name: str, python: str) -> str | None:
    """The release of a distribution that a group locks for this Python on Linux."""
    there = environment(python)
    for requirement in locked(group):
        if requirement.name == name.lower().replace("_", "-") and (requirement.marker is None or requirement.marker.evaluate(there)):
            return next(iter(requirement.specifier)).version
    return None


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("group", GROUPS)
def test_a_lock_file_has_a_release_within_the_bounds_of_each_requirement(group: str, python: str) -> None:
    wrong = {
        str(requirement): found
        for requirement in asked(group)
        if (found := release(group, requirement.name, python)) is None or not requirement.specifier.contains(found, prereleases=True)
    }
    assert not wrong, "run `make lock`"


@pytest.mark.parametrize("group", [group for group in GROUPS if group not in ("compiled", "peers", "saga")])
def test_groups_lock_the_same_releases(group: str) -> None:
    for python in PYTHONS:
        for requirement in locked(group):
            assert release(group, requirement.name, python) == release("dev", requirement.name, python), requirement.name


@pytest.mark.parametrize("group", [*GROUPS, "build"])
def test_each_release_has_hashes_and_no_address(group: str) -> None:
    text = (CHECKOUT / "requirements" / f"{group}.txt").read_text()
    assert "://" not in text
    assert "--index" not in text
    entries = [entry for entry in re.split(r"\n(?=[a-z])", text) if re.match(r"[a-z]", entry)]
    assert len(entries) > 1
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_build_requirements_are_those_of_the_build_system() -> None:
    lines = (CHECKOUT / "requirements" / "build.in").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == PROJECT["build-system"]["requires"]
    names = {requirement.name for requirement in locked("build")}
    assert {Requirement(text).name for text in PROJECT["build-system"]["requires"]} <= names
