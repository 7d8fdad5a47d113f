"""Classes and functions of ``__main__`` in one process are usable in another."""

import subprocess
import sys

import pytest

WRITER = """
import sys
from headrace.values import encode
import numpy as np

class Station:
    def __init__(self, name, field):
        self.name, self.field = name, field
    def mean(self):
        return float(self.field.mean())

def label(station):
    return station.name.upper()

station = Station("uccle", np.arange(5.0))
what = {"instance": station, "function": label, "class": Station, "all": [station, label, lambda s: len(s.name), Station]}
sys.stdout.buffer.write(encode(what[sys.argv[1]]).tobytes())
"""

USE_INSTANCE = """
import sys
from headrace.values import decode
print(decode(sys.stdin.buffer.read()).mean())
"""

USE_NAME = """
import sys
from headrace.values import decode
print(decode(sys.stdin.buffer.read()).__name__)
"""

USE_ALL = """
import sys
from headrace.values import decode, encode
station, label, length, kind = decode(sys.stdin.buffer.read())
again, _ = decode(encode([station, label]).tobytes())   # a runner hands on what it was given
print(station.mean(), label(station), length(station), isinstance(station, kind), again.mean(), type(station).__module__)
"""


def run(program, given=b"", *arguments):
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, input=given, capture_output=True, check=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("what", "use", "said"),
    [
        ("instance", USE_INSTANCE, b"2.0"),
        ("function", USE_NAME, b"label"),
        ("class", USE_NAME, b"Station"),
        ("all", USE_ALL, b"2.0 UCCLE 5 True 2.0 __main__"),
    ],
)
def test_values_of_main_cross_processes(what, use, said):
    assert run(use, run(WRITER, b"", what)).strip() == said
