"""The definitions of a script travel to another process and come back."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import cloudpickle
import pytest

from headrace.errors import FunctionNotFound
from headrace.graph.functions import load_function
from headrace.pickling import by_value
from headrace_schemas.graph import FunctionSpec
from tests.unit import pickling_script

SCRIPT = Path(pickling_script.__file__)


@pytest.fixture(scope="module")
def problems() -> dict[str, str]:
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("case", pickling_script.CASES)
def test_what_a_script_defines_goes_and_comes_back(problems: dict[str, str], case: str) -> None:
    assert problems[case] == ""


def test_functions_of_an_importable_module_stay_references() -> None:
    for function in (pickling_script.table, pickling_script.kind_of, pickling_script.Point, pickling_script.Color, pickling_script.UserId):
        assert len(by_value.dumps(function)) < 100


def test_a_class_that_is_changed_is_changed_where_it_was_sent() -> None:
    code = """
import pickle, subprocess, sys
from headrace.pickling import by_value
class Scale:
    factor = 2
    def of(self, x): return self.factor * x
first = by_value.dumps(Scale())
Scale.factor = 3
second = by_value.dumps(Scale())
reader = "import pickle, sys; first, second = pickle.load(sys.stdin.buffer); print(pickle.loads(first).of(1), pickle.loads(second).of(1))"
print(subprocess.run([sys.executable, "-c", reader], input=pickle.dumps((first, second)), capture_output=True, check=True).stdout.decode())
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.split() == [b"2", b"3"]


def test_a_module_that_travels_by_value_takes_its_caches_and_tasks_along(tmp_path: Path) -> None:
    module = types.ModuleType("only_here")
    sys.modules["only_here"] = module
    code = "import functools, headrace as hr\n@functools.cache\ndef table(n): return n * n\n@hr.task\ndef double(x): return 2 * x\n"
    exec(code + "def uses(n): return table(n) + double(n)\n", vars(module))
    cloudpickle.register_pickle_by_value(module)
    try:
        pickled = by_value.dumps(module.uses)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
        del sys.modules["only_here"]
    assert load_function(FunctionSpec(name="uses", pickled=pickled))(3) == 15


def test_what_stays_a_reference_to_the_script_is_named() -> None:
    spec = FunctionSpec(name="odd", pickled=b"c__main__\nnot_there\n.")
    with pytest.raises(FunctionNotFound, match=r"not_there.*pickled as a reference to the script.*[Dd]efine it in a module"):
        load_function(spec)
