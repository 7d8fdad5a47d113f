"""Shared memory in one process: read-only views, when they count as released, and memory that is given and taken back."""

import errno
import gc
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from headrace_shm import PAGE, Arena, backing

SIZE = 64 * PAGE


@pytest.fixture
def arena():
    with Arena.create(SIZE) as arena:
        yield arena


@pytest.fixture
def released():
    return []


@pytest.fixture
def view(arena, released):
    """A read-only view of 4,096 bytes that count up; the test must drop its own name for it."""
    arena.writable(64, 4096)[:] = np.arange(4096, dtype=np.uint8).tobytes()
    views = [arena.readonly(64, 4096, lambda: released.append(1))]
    return views.pop


def through_pickle(view):
    parts = []
    original = np.frombuffer(view, np.float32)
    head = pickle.dumps({"field": original}, protocol=5, buffer_callback=parts.append)
    assert len(parts) == 1
    return pickle.loads(head, buffers=[view])["field"]


DERIVED = {
    "slice": lambda view: view[100:200],
    "slice of a slice": lambda view: view[100:200][5:],
    "cast": lambda view: view.cast("d"),
    "array": lambda view: np.frombuffer(view, np.uint8),
    "slice of an array": lambda view: np.frombuffer(view, np.uint8)[10:20],
    "slice of a slice of an array": lambda view: np.frombuffer(view, np.uint8)[10:][:5],
    "reshaped": lambda view: np.frombuffer(view, np.float32).reshape(32, 32).T[::2],
    "asarray": np.asarray,
    "slice of asarray": lambda view: np.asarray(view)[1:][1:],
    "view of another type": lambda view: np.asarray(view).view(np.int16)[3:],
    "memoryview of an array": lambda view: memoryview(np.frombuffer(view, np.uint8)[3:9]),
    "array of a memoryview of an array": lambda view: np.asarray(memoryview(np.asarray(view)[1:])),
    "pickle buffer": lambda view: pickle.PickleBuffer(view),
    "unpickled array": through_pickle,
    "slice of an unpickled array": lambda view: through_pickle(view)[1:],
    "the exporter": lambda view: view.obj,
    "slice of the exporter": lambda view: view.obj[1:][1:],
    "ndarray over the view": lambda view: np.ndarray((10,), np.uint8, buffer=view),
}


@pytest.mark.parametrize("derive", DERIVED.values(), ids=DERIVED)
def test_whatever_derives_from_a_view_keeps_it(view, released, derive):
    last = derive(view())
    gc.collect()
    assert released == []
    del last
    gc.collect()
    assert released == [1]


def test_release_is_reported_once_for_many_views(view, released):
    first = view()
    many = [np.frombuffer(first, np.uint8)[k:] for k in range(50)]
    del first
    while many:
        assert released == []
        many.pop()
    assert released == [1]
    gc.collect()
    assert released == [1]


def test_a_view_in_a_cycle_is_released_by_the_collector(view, released):
    cycle = [np.asarray(view())]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert released == [1]


def test_a_view_may_end_in_another_thread(view, released):
    box = [view()]
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    assert released == [1]


def test_each_view_of_the_same_bytes_reports_for_itself(arena):
    ended = []
    one = arena.readonly(0, 100, lambda: ended.append("one"))
    two = arena.readonly(0, 100, lambda: ended.append("two"))
    del two
    assert ended == ["two"]
    del one
    assert ended == ["two", "one"]


def test_views_show_the_bytes_without_a_copy(arena):
    view = arena.readonly(128, 8, lambda: None)
    array = np.frombuffer(view, np.uint8)
    arena.writable(128, 8)[:] = b"headrace"
    assert bytes(view) == array.tobytes() == b"headrace"
    assert (view.readonly, view.format, view.nbytes) == (True, "B", 8)


@pytest.mark.parametrize(
    "derive", [lambda v: v.obj, np.asarray, lambda v: np.frombuffer(v, "f4"), through_pickle, lambda v: np.asarray(v)[1:]]
)
def test_an_array_on_a_view_cannot_be_made_writable(view, derive):
    array = derive(view())
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.setflags(write=True)
    with pytest.raises(ValueError, match="read-only"):
        array[...] = 0


def test_a_view_cannot_be_written(view):
    with pytest.raises(TypeError, match="read-only"):
        view()[0] = 1


WRITE_BY_POINTER = """
import ctypes, numpy as np
from headrace_shm import Arena
array = np.asarray(Arena.create(1 << 20).readonly(0, 8, list))
ctypes.memset(array.ctypes.data, 1, 8)
"""

LIVE_AT_EXIT = """
from headrace_shm import Arena
view = Arena.create(1 << 20).readonly(0, 8, lambda: print("released", flush=True))
"""


def test_the_memory_itself_is_protected():
    ended = subprocess.run([sys.executable, "-c", WRITE_BY_POINTER], capture_output=True, check=False)
    assert ended.returncode < 0, "killed by a signal: the pages are mapped read-only"


def test_nothing_is_called_while_the_interpreter_ends():
    ended = subprocess.run([sys.executable, "-c", LIVE_AT_EXIT], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_no_bytes_at_all_can_be_viewed(arena, released):
    view = arena.readonly(SIZE, 0, lambda: released.append(1))
    assert bytes(view) == b""
    assert np.frombuffer(arena.writable(SIZE, 0), np.uint8).size == 0
    del view
    assert released == [1]


@pytest.mark.parametrize(("offset", "nbytes"), [(-1, 1), (0, -1), (0, SIZE + 1), (SIZE, 1), (SIZE + 1, 0)])
def test_what_is_outside_is_refused(arena, offset, nbytes):
    calls = [arena.writable, arena.reserve, arena.release_pages, lambda *place: arena.readonly(*place, list)]
    for call in calls:
        with pytest.raises(ValueError, match=f"inside the arena of {SIZE} bytes"):
            call(offset, nbytes)


def test_reserved_memory_is_counted_once(arena):
    arena.reserve(100, 10)
    assert arena.backed == PAGE
    arena.reserve(PAGE - 1, 2)
    assert arena.backed == 2 * PAGE
    arena.reserve(8 * PAGE, PAGE)
    arena.reserve(0, 12 * PAGE)
    assert arena.backed == 12 * PAGE == os.fstat(arena.fd).st_blocks * 512
    arena.reserve(5 * PAGE, 0)
    assert arena.backed == 12 * PAGE


def test_reserving_again_makes_no_system_call(arena, monkeypatch):
    arena.reserve(0, 8 * PAGE)
    calls = []
    monkeypatch.setattr(os, "posix_fallocate", lambda fd, offset, nbytes: calls.append((offset, nbytes)))
    arena.reserve(100, 7 * PAGE)
    assert calls == []
    arena.reserve(6 * PAGE, 4 * PAGE)
    assert calls == [(8 * PAGE, 2 * PAGE)], "and only for the pages that lack memory"


def test_what_is_written_by_the_system_is_there_and_has_memory(arena):
    assert not arena.is_backed(0, 1)
    arena.reserve(0, PAGE)
    data = memoryview(bytes(range(256)) * (3 * PAGE // 256))
    arena.write(PAGE - 10, data)
    assert bytes(arena.readonly(PAGE - 10, len(data), list)) == data
    assert arena.backed == 4 * PAGE == os.fstat(arena.fd).st_blocks * 512
    assert arena.is_backed(0, 4 * PAGE)
    assert not arena.is_backed(3 * PAGE, PAGE + 1)
    arena.write(8 * PAGE, memoryview(b""))
    assert arena.backed == 4 * PAGE
    for offset in (-1, SIZE - len(data) + 1):
        with pytest.raises(ValueError, match=f"inside the arena of {SIZE} bytes"):
            arena.write(offset, data)


def test_an_arena_takes_no_memory_until_it_is_used():
    with Arena.create(1 << 40) as arena:
        assert arena.address_space == 1 << 40
        assert os.fstat(arena.fd).st_blocks == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can punch holes")
def test_memory_goes_back_to_the_system_in_whole_pages(arena):
    arena.reserve(0, 8 * PAGE)
    arena.writable(0, 8 * PAGE)[:] = b"x" * (8 * PAGE)
    assert arena.release_pages(PAGE + 1, 3 * PAGE) == 2 * PAGE
    assert arena.backed == 6 * PAGE == os.fstat(arena.fd).st_blocks * 512
    content = bytes(arena.readonly(0, 8 * PAGE, list))
    assert content == b"x" * 2 * PAGE + bytes(2 * PAGE) + b"x" * 4 * PAGE
    assert arena.release_pages(2 * PAGE, 2 * PAGE) == 0, "they had none any more"
    assert arena.release_pages(10, PAGE) == 0, "no whole page"
    arena.reserve(0, 8 * PAGE)
    assert arena.backed == 8 * PAGE == os.fstat(arena.fd).st_blocks * 512


def test_only_what_was_reserved_can_be_given_back(arena):
    with Arena.attach(os.dup(arena.fd)) as other:
        arena.reserve(0, PAGE)
        assert (other.backed, other.release_pages(0, SIZE)) == (0, 0)
    assert os.fstat(arena.fd).st_blocks * 512 == PAGE


def test_where_holes_cannot_be_punched_memory_is_kept(arena, monkeypatch):
    monkeypatch.setattr(backing, "_FALLOCATE", None)
    arena.reserve(0, PAGE)
    assert arena.release_pages(0, PAGE) == 0
    assert arena.backed == PAGE


def test_where_no_call_reserves_zeros_are_written(arena, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.setattr(backing, "ZEROS", bytes(3000))
    arena.writable(0, 10)[:] = b"0123456789"
    arena.reserve(PAGE, 5 * PAGE)
    assert os.fstat(arena.fd).st_blocks * 512 == 6 * PAGE
    assert bytes(arena.writable(0, PAGE + 5)) == b"0123456789" + bytes(PAGE - 5), "and nothing outside is changed"


def test_no_name_ever_appears(tmp_path):
    with Arena.create(SIZE, tmp_path) as arena:
        arena.reserve(0, SIZE)
        assert os.listdir(tmp_path) == []
        assert os.fstat(arena.fd).st_nlink == 0


@pytest.mark.parametrize("code", sorted(backing.NO_TMPFILE - {errno.ENOENT}))
def test_file_systems_without_unnamed_files_work_too(tmp_path, monkeypatch, code):
    plain = os.open

    def refuse(path, flags, *rest, **named):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(code, os.strerror(code))
        return plain(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refuse)
    with Arena.create(SIZE, tmp_path) as arena:
        assert os.listdir(tmp_path) == []
        arena.writable(0, 4)[:] = b"work"
        assert bytes(arena.readonly(0, 4, list)) == b"work"


def test_systems_without_unnamed_files_work_too(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    with Arena.create(SIZE, tmp_path) as arena:
        assert os.listdir(tmp_path) == []
        assert os.fstat(arena.fd).st_size == SIZE


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Arena.create(SIZE, tmp_path / "nowhere")


def test_an_address_space_is_positive():
    with pytest.raises(ValueError, match="positive"):
        Arena.create(0)


def test_an_attached_arena_shows_the_same_memory(arena):
    with Arena.attach(os.dup(arena.fd)) as other:
        assert other.address_space == SIZE
        other.writable(500, 5)[:] = b"hello"
        assert bytes(arena.readonly(500, 5, list)) == b"hello"


def test_views_outlive_the_arena(view, arena, released):
    array = np.asarray(view())
    writable = arena.writable(64, 10)
    arena.close()
    arena.close()
    assert arena.fd == -1
    writable[0] = 77
    assert (array[0], array[4095]) == (77, 255)
    del array
    assert released == [1]
    for call in (arena.writable, arena.reserve, arena.release_pages):
        with pytest.raises(ValueError, match="closed"):
            call(0, 1)


def test_a_closed_arena_leaves_no_descriptor_and_no_mapping():
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    before = len(os.listdir(folder))
    arena = Arena.create(SIZE)
    view = arena.readonly(0, 10, list)
    arena.close()
    del view
    assert len(os.listdir(folder)) == before
