"""One arena, several processes: they read without copies, keep what they hold, are killed, and leave nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from shm_process import Process

from headrace_shm import LARGE, Arena, Store, backing

CAPACITY = 8 * LARGE


@pytest.fixture(params=["memory", "disk"])
def folder(request, tmp_path):
    """A folder of the test's own, in which nothing may ever appear."""
    if request.param == "disk":
        yield tmp_path
    elif not backing.SHARED_MEMORY.is_dir():
        pytest.skip("no file system in memory")
    else:
        with tempfile.TemporaryDirectory(dir=backing.SHARED_MEMORY) as name:
            yield Path(name)


@pytest.fixture
def arena(folder):
    with Arena.create(4 * CAPACITY, folder) as arena:
        yield arena
        assert os.listdir(folder) == []


@pytest.fixture
def store():
    return Store(CAPACITY, 4 * CAPACITY)


@pytest.fixture
def start(arena):
    """Start a process that has inherited the arena; all are killed and waited for at the end."""
    started = []

    def start():
        started.append(Process("inherited", arena.fd))
        assert started[-1].answer() == "ready"
        return started[-1]

    yield start
    for process in started:
        process.popen.kill()
        process.popen.communicate()


def write(store, arena, key, nbytes):
    """A sealed block of random bytes, and their checksum; None where there is no room."""
    block = store.allocate(key, nbytes, "owner")
    if block is None:
        return None
    arena.reserve(block.offset, nbytes)
    content = np.random.default_rng(block.id).bytes(nbytes)
    arena.writable(block.offset, nbytes)[:] = content
    return store.seal(key), zlib.crc32(content)


def keep(store, process, client, key):
    block = store.hold(key, client)
    return process.ask("keep", block.id, block.offset, block.nbytes)


def fill_up(store, arena, prefix):
    """Write until there is no room; how many blocks that were."""
    count = 0
    while write(store, arena, f"{prefix}-{count}", LARGE) is not None:
        count += 1
    return count


def test_a_killed_reader_keeps_its_bytes_until_it_is_dead(store, arena, start, folder):
    reader = start()
    blocks = {key: write(store, arena, key, LARGE) for key in ("a", "b", "c")}
    assert {key: keep(store, reader, "reader", key) for key in blocks} == {key: crc for key, (_, crc) in blocks.items()}
    for key in blocks:
        assert store.purge(key) == 0
    for turn in range(3):
        assert fill_up(store, arena, "more") == 5, "all but what the reader holds"
        assert [reader.ask("check", block.id) for block, _ in blocks.values()] == [crc for _, crc in blocks.values()]
        assert os.listdir(folder) == [], turn
        for key in list(store.keys()):
            store.purge(key)
    reader.kill()
    assert {block.key for block in store.client_died("reader")} == set(blocks)
    assert fill_up(store, arena, "last") == 8, "and now all of it is used again"
    assert store.backed == arena.backed == CAPACITY


def test_one_reader_dies_and_another_still_holds(store, arena, start):
    readers = {"one": start(), "two": start()}
    block, crc = write(store, arena, "a", LARGE)
    for name, reader in readers.items():
        assert keep(store, reader, name, "a") == crc
    store.purge("a")
    readers["one"].kill()
    assert store.client_died("one") == []
    fill_up(store, arena, "more")
    assert readers["two"].ask("check", block.id) == crc
    assert readers["two"].ask("drop", block.id) == [block.id]
    assert store.release(block.id, "two") == block.size
    assert write(store, arena, "again", LARGE)[0].offset == block.offset


def test_what_a_killed_writer_had_begun_is_free_again(store, arena, start):
    writer = start()
    block = store.allocate("half", LARGE, "writer")
    arena.reserve(block.offset, block.nbytes)
    assert writer.ask("fill", block.offset, block.nbytes // 2, 7) == block.nbytes // 2
    writer.kill()
    assert store.client_died("writer") == [block]
    assert "half" not in store
    assert write(store, arena, "half", LARGE)[0].offset == block.offset


def test_one_process_writes_and_others_read(store, arena, start):
    writer, reader = start(), start()
    block = store.allocate("a", 3 * LARGE, "writer")
    arena.reserve(block.offset, block.nbytes)
    writer.ask("fill", block.offset, block.nbytes, 42)
    store.seal("a")
    assert keep(store, reader, "reader", "a") == zlib.crc32(bytes([42]) * 3 * LARGE)
    assert bytes(arena.readonly(block.offset, 2, list)) == b"**"


def test_the_arena_can_be_sent_over_a_socket(store, arena):
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = Process("socket", theirs.fileno())
        socket.send_fds(ours, [b"a"], [arena.fd])
        try:
            assert process.answer() == "ready"
            _, crc = write(store, arena, "a", LARGE)
            assert keep(store, process, "reader", "a") == crc
        finally:
            process.popen.kill()
            process.popen.communicate()


OWNER = """
import os, sys
from headrace_shm import Arena
arena = Arena.create(1 << 30, sys.argv[1])
arena.reserve(0, 1 << 20)
arena.writable(0, 4)[:] = b"kept"
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_owner_that_is_killed_leaves_nothing(folder, end):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert owner.stdout.readline() == "ready\n"
    assert os.listdir(folder) == []
    owner.send_signal(end)
    owner.communicate()
    assert owner.returncode != 0
    assert os.listdir(folder) == []


def test_readers_keep_their_memory_when_the_owner_is_gone(folder):
    with Arena.create(1 << 20, folder) as owner:
        owner.writable(0, 4)[:] = b"kept"
        process = Process("inherited", owner.fd)
        assert process.answer() == "ready"
    try:
        assert process.ask("keep", 1, 0, 4) == zlib.crc32(b"kept")
    finally:
        process.popen.kill()
        process.popen.communicate()


FULL = """
import errno, os, sys
from headrace_shm import Arena, ArenaFull
arena = Arena.create(1 << 30, sys.argv[1])
arena.reserve(0, 1 << 19)
for attempt in range(2):
    try:
        arena.reserve(0, 1 << 21)
    except OSError as error:
        assert type(error) is ArenaFull and error.errno == errno.ENOSPC, error
        print(error)
assert arena.backed == 1 << 19 == os.fstat(arena.fd).st_blocks * 512, "what it asked for was not kept"
arena.writable(0, 1 << 19)[:] = bytes(1 << 19)
try:
    arena.write(1 << 19, memoryview(bytes(1 << 21)))
except OSError as error:
    assert type(error) is ArenaFull and error.errno == errno.ENOSPC, error
    print(error)
assert arena.release_pages(0, 1 << 19) == 1 << 19
os.ftruncate(arena.fd, 0)  # with what was written until it was full
os.ftruncate(arena.fd, 1 << 30)
arena.reserve(1 << 21, 1 << 20)
"""

IN_A_SMALL_FOLDER = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1"'
"""Run in a mount namespace of its own, so that nobody else sees the mount and nothing of it stays."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mount namespaces")
def test_a_full_file_system_is_an_error_and_no_signal(tmp_path):
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "mount", "-t", "tmpfs", "none", str(tmp_path)], capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not make mount namespaces")
    ended = subprocess.run(
        [*alone, "sh", "-c", IN_A_SMALL_FOLDER, "sh", str(tmp_path), sys.executable, FULL], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("enlarge the file system") == 3
