"""What a process that spills leaves behind when it is killed."""

import os
import signal
import subprocess
import sys

import pytest

OWNER = """
import sys
from headrace_shm import Arena
from headrace_shm.spill import Spill
from headrace_shm.spilling import SpillingStore
arena = Arena.create(16 << 20)
store = SpillingStore(4 << 20, arena, Spill(sys.argv[1]))
for key in range(8):
    block = store.allocate(key, 1 << 20, "me")
    arena.writable(block.offset, block.nbytes)[:] = bytes([key]) * (1 << 20)
    store.seal(key)
print(store.spilled, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_owner_leaves_nothing_on_disk(tmp_path, end):
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline() == f"{4 << 20}\n"
    assert os.listdir(tmp_path) == []
    owner.send_signal(end)
    owner.communicate()
    assert owner.returncode == -end
    assert os.listdir(tmp_path) == []
