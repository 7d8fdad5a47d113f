"""docs/settings.md is what the code says, and has all variables; the settings of all services are of one style."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.cli import services, settings_table
from headrace.cli.settings_table import SETTINGS, docstrings, document, flags, rows, variables
from headrace.worker.settings import Settings as Worker
from headrace.worker.threads import ThreadSettings, set_variables

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"\b(?:HEADRACE|OTEL)_[A-Z_]*[A-Z]\b")
ELSEWHERE = {"docker-compose.yml": {"HEADRACE_IMAGE"}, "observability/README.md": {"OTEL_TRACES_SAMPLER"}}
"""Variables that only Docker Compose or OpenTelemetry reads."""
FOLDERS = {"services": "*.py", "libs": "*.py", "schemas": "*.py", "benchmarks": "*.py", "docs": "*.md", "observability": "*.*"}
FILES = ["README.md", "CONTRIBUTING.md", "docker-compose.yml", "Dockerfile", ".env.example"]
TABLE = {row.variable for row in rows()}
SAMPLES = {"HEADRACE_SINKS": "/data", "HEADRACE_LOG_LEVEL": "debug", "HEADRACE_LOG_FORMAT": "json", "HEADRACE_VIA": "hosts"}
"""Values that differ from the defaults. All other variables take a number."""
STRUCTS = sorted({struct for _, struct in SETTINGS}, key=lambda struct: (struct.__module__, struct.__name__))
READ = [(struct, variable) for struct in STRUCTS if hasattr(struct, "from_env") for variable in variables(struct).values()]
UNITS = ("_seconds", "_share", "_bytes", "_factor")


def sources() -> list[Path]:
    found = [path for folder, pattern in FOLDERS.items() for path in sorted((ROOT / folder).rglob(pattern))]
    return [*found, *(ROOT / name for name in FILES)]


def test_the_page_is_what_make_settings_writes(tmp_path: Path) -> None:
    target = tmp_path / "settings.md"
    assert settings_table.main([str(target)]) == 0
    assert (ROOT / "docs" / "settings.md").read_text() == target.read_text() == document(), "run: make settings"


def test_every_variable_that_is_named_anywhere_is_in_the_table() -> None:
    missing = {}
    for path in sources():
        name = str(path.relative_to(ROOT))
        if name != "services/headrace/cli/settings_table.py" and name != "docs/settings.md":
            unknown = set(NAMED.findall(path.read_text())) - TABLE - ELSEWHERE.get(name, set())
            missing |= {name: unknown} if unknown else {}
    assert missing == {}


@pytest.mark.parametrize(("struct", "variable"), READ, ids=lambda each: each if isinstance(each, str) else each.__module__)
def test_a_variable_of_the_table_is_read(struct: Any, variable: str) -> None:
    assert struct.from_env({variable: SAMPLES.get(variable, "7")}) != struct.from_env({})


def test_a_worker_reads_its_variables_from_flags_or_else_from_the_environment() -> None:
    by_flag = {field for field, variable in variables(Worker).items() if variable in flags()}
    assert set(variables(Worker)) - by_flag == {"lease_seconds", "record_dir"}
    found = Worker(host="a").with_env({"HEADRACE_HOST_LEASE": "7s", "HEADRACE_RECORD": "/records"})
    assert found == Worker(host="a", lease_seconds=7.0, record_dir="/records")


def test_the_other_variables_are_read() -> None:
    """Those of structs without `from_env`: files of secrets, threads and traces have tests of their own."""
    env = {variables(ThreadSettings)["runner_threads"]: "7"}
    set_variables(1, env)
    assert env["OMP_NUM_THREADS"] == "7"
    others = {variable for struct in STRUCTS if not hasattr(struct, "from_env") for variable in variables(struct).values()}
    assert {variable for variable in others if variable.startswith("HEADRACE") and variable not in flags()} == {
        "HEADRACE_HOST_LEASE",
        "HEADRACE_HOST_DEATHS",
        "HEADRACE_PASSWORD_FILE",
        "HEADRACE_RECORD",
        "HEADRACE_RUNNER_THREADS",
        "HEADRACE_TOKEN_FILE",
        "HEADRACE_TRACING",
    }


@pytest.mark.parametrize("service", ["controller", "scheduler", "publisher", "worker"])
def test_the_help_of_a_service_names_its_variables(service: str) -> None:
    words = set(re.findall(r"(?<=HEADRACE)_[A-Z_]+|(?<=\s)_[A-Z_]+", getattr(services, service).__doc__))
    own = {row.variable for row in rows() if service in row.readers or row.variable in ("HEADRACE_METRICS", "HEADRACE_LOG_LEVEL")}
    assert words == {variable.removeprefix("HEADRACE") for variable in own - set(flags())}


def test_every_flag_with_a_variable_is_in_the_table() -> None:
    assert set(flags()) <= TABLE


def test_every_settings_struct_is_listed() -> None:
    modules = [f"headrace.{path.parent.name}.settings" for path in sorted((ROOT / "services" / "headrace").glob("*/settings.py"))]
    found = {
        each
        for module in map(importlib.import_module, modules)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, msgspec.Struct) and each.__module__ == module.__name__
    }
    assert found <= set(STRUCTS)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: f"{struct.__module__}.{struct.__name__}")
def test_a_settings_struct_is_frozen_and_says_of_each_field_what_it_is(struct: Any) -> None:
    assert struct.__struct_config__.frozen
    assert set(struct.__struct_fields__) <= set(docstrings(struct))
    assert set(variables(struct)) <= set(struct.__struct_fields__)
    assert [field.name for field in msgspec.structs.fields(struct) if field.type is float and not field.name.endswith(UNITS)] == []
