"""Classes and functions of ``__main__`` in one process are usable in another."""

import subprocess
import sys

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

sys.stdout.buffer.write(encode([Station("uccle", np.arange(5.0)), label, lambda s: len(s.name), Station]).tobytes())
"""

READER = """
import sys
from headrace.values import decode, encode
station, label, length, kind = decode(sys.stdin.buffer.read())
again, _ = decode(encode([station, label]).tobytes())   # a runner hands on what it was given
print(station.mean(), label(station), length(station), isinstance(station, kind), again.mean(), type(station).__module__)
"""


def run(program, given):
    return subprocess.run([sys.executable, "-c", program], input=given, capture_output=True, check=True, timeout=60).stdout


def test_values_of_main_cross_processes():
    assert run(READER, run(WRITER, b"")).split() == [b"2.0", b"UCCLE", b"5", b"True", b"2.0", b"__main__"]
