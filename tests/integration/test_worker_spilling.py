"""Datasets on their way to disk and back, with a real arena and a real disk."""

from __future__ import annotations

import subprocess
import sys

import pytest

FULL = """
import asyncio, sys
from pathlib import Path
from headrace.worker.actions import Restore, Spill
from headrace.worker.spilling import Spilling
from headrace_shm import Arena

class Heard:
    def spilled(self, key, well):
        print("spilled", well)
    def restored(self, key, well):
        print("restored", well)

async def main(folder, disk):
    arena, woken = Arena.create(1 << 24, folder), asyncio.Queue()
    spilling = Spilling(Heard(), arena, disk, lambda: woken.put_nowait(None), lambda action, data: None)
    arena.reserve(0, 1 << 19)
    spilling.act(Spill("1", 1, 0, 1 << 19))
    await woken.get()
    ballast = Path(folder, "ballast")
    ballast.write_bytes(bytes(1 << 18))
    for _ in range(2):
        spilling.act(Restore("1", 2, 1 << 20, 1 << 19))
        await woken.get()
        ballast.unlink(missing_ok=True)
    spilling.close()

asyncio.run(main(*sys.argv[1:]))
"""

IN_A_SMALL_FOLDER = 'mount -t tmpfs -o size=1m none "$1" && exec "$3" -c "$4" "$1" "$2"'
"""Run in a mount namespace of its own, so that nobody else sees the mount and nothing of it stays."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mount namespaces")
def test_a_dataset_that_memory_has_no_room_for_is_said_not_to_come_back_from_disk(tmp_path):
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    small, disk = tmp_path / "small", tmp_path / "disk"
    small.mkdir()
    disk.mkdir()
    if subprocess.run([*alone, "mount", "-t", "tmpfs", "none", str(small)], capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not make mount namespaces")
    command = [*alone, "sh", "-c", IN_A_SMALL_FOLDER, "sh", str(small), str(disk), sys.executable, FULL]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.stdout.split() == ["spilled", "True", "restored", "False", "restored", "True"], ended.stderr
    assert "no room for 524288 more bytes of shared memory" in ended.stderr
