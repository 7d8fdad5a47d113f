"""Blocks move to disk when memory is short, and come back when they are needed."""

import errno
import os
import zlib

import pytest
import zict
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace_shm import LARGE, PAGE, Arena, KeyExists, SpillFailed, TooLarge, UnknownKey
from headrace_shm.spill import Spill
from headrace_shm.spilling import SpillingStore

CAPACITY = 4 * LARGE


@pytest.fixture
def arena():
    with Arena.create(4 * CAPACITY) as arena:
        yield arena


@pytest.fixture
def disk(tmp_path):
    with Spill(tmp_path) as disk:
        yield disk
        assert os.listdir(tmp_path) == []


@pytest.fixture
def store(arena, disk):
    return SpillingStore(CAPACITY, arena, disk)


def content(key, nbytes):
    return (f"{key:>16}".encode() * (nbytes // 16 + 1))[:nbytes]


def write(store, arena, key, nbytes=LARGE, **how):
    """A sealed block of bytes that follow from its key; None where there was no room."""
    block = store.allocate(key, nbytes, "writer", **how)
    if block is None:
        return None
    arena.reserve(block.offset, nbytes)
    arena.writable(block.offset, nbytes)[:] = content(key, nbytes)
    return store.seal(key)


def read(arena, block):
    return bytes(arena.writable(block.offset, block.nbytes))


def test_more_fits_than_memory_holds(store, arena):
    for key in range(20):
        assert write(store, arena, key) is not None
    assert store.used == CAPACITY
    assert store.spilled == 16 * LARGE
    assert len(store) == len(list(store.keys())) == 20
    for key in range(20):
        assert key in store
        assert read(arena, store.get(key)) == content(key, LARGE)
        assert store.used <= CAPACITY


def test_the_least_recently_used_goes_first(store, arena):
    for key in "abcd":
        write(store, arena, key)
    store.release(store.hold("a", "reader").id, "reader")
    store.restore("b")
    assert store.make_room(2 * LARGE) == ["c", "d"]
    assert store.make_room(2 * LARGE) == []
    assert store.make_room(4 * LARGE) == ["a", "b"]


def test_what_is_held_or_being_written_stays(store, arena):
    for key in "abc":
        write(store, arena, key)
    store.allocate("d", LARGE, "writer")
    store.hold("a", "reader", 2)
    assert store.idle == 2 * LARGE
    assert store.make_room(CAPACITY) == ["b", "c"]
    assert store.free == 2 * LARGE
    store.release(store.get("a").id, "reader")
    assert store.make_room(CAPACITY) == []
    assert store.client_died("reader") == []
    assert store.make_room(CAPACITY) == ["a"]


def test_nothing_is_written_where_it_would_not_help(store, arena):
    for key in "abcd":
        write(store, arena, key)
    store.hold("a", "reader")
    assert store.allocate("e", CAPACITY, "writer") is None
    assert store.spilled == 0


def test_a_hold_brings_a_block_back_under_a_new_id(store, arena):
    old = write(store, arena, "a")
    store.make_room(CAPACITY)
    assert store.on_disk("a")
    assert (old.named, store.used) == (False, 0)
    new = store.hold("a", "reader")
    assert new.id > old.id
    assert (store.on_disk("a"), store.spilled) == (False, 0)
    assert read(arena, new) == content("a", LARGE)
    assert store.release(old.id, "reader") == 0, "a late message about the block before"


def test_a_block_comes_back_beyond_the_capacity_only_if_it_must(store, arena):
    for key in "abcde":
        write(store, arena, key)
    for key in "bcde":
        store.hold(key, "reader")
    assert store.restore("a") is None
    assert store.on_disk("a")
    assert store.hold("a", "reader").sealed
    assert store.used == CAPACITY + LARGE


def test_a_purge_reaches_the_disk(store, arena, disk):
    write(store, arena, "a")
    store.make_room(CAPACITY)
    assert (len(disk), disk.nbytes) == (1, LARGE)
    assert store.purge("a") == 0
    assert (len(disk), disk.nbytes, store.spilled, "a" in store) == (0, 0, 0, False)
    with pytest.raises(UnknownKey):
        store.hold("a", "reader")
    assert write(store, arena, "a") is not None


def test_a_spilled_key_is_taken(store, arena):
    write(store, arena, "a")
    store.make_room(CAPACITY)
    with pytest.raises(KeyExists, match="spilled"):
        store.allocate("a", 1, "writer")
    with pytest.raises(TooLarge):
        store.allocate("b", CAPACITY + 1, "writer")


def test_a_full_disk_means_no_room_and_loses_nothing(arena, tmp_path):
    with Spill(tmp_path, limit=LARGE) as disk:
        store = SpillingStore(CAPACITY, arena, disk)
        for key in "abcde":
            write(store, arena, key)
        assert store.spill_error is None
        assert write(store, arena, "f") is None
        assert store.spill_error.errno == errno.ENOSPC
        with pytest.raises(SpillFailed, match="limit"):
            store.make_room(LARGE)
        assert [key for key in "abcde" if store.on_disk(key)] == ["a"]
        assert read(arena, store.get("b")) == content("b", LARGE)
        store.purge("a")
        assert write(store, arena, "f") is not None
        assert store.spill_error is None


def test_a_disk_that_cannot_be_read_keeps_the_block(store, arena, disk, monkeypatch):
    write(store, arena, "a")
    store.make_room(CAPACITY)

    def broken(*_):
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr("headrace_shm.spill.read_range", broken)
        with pytest.raises(SpillFailed, match="broken"):
            store.hold("a", "reader")
    assert (store.used, store.on_disk("a")) == (0, True)
    assert read(arena, store.hold("a", "reader")) == content("a", LARGE)


@pytest.mark.parametrize("kind", ["dict", "file", "compressed"])
def test_any_mapping_of_zict_serves_as_the_disk(arena, tmp_path, kind):
    file = zict.File(tmp_path / "spilled")
    disk = {
        "dict": zict.Func(bytes, bytes, {}),
        "file": file,
        "compressed": zict.Func(zlib.compress, zlib.decompress, file),
    }[kind]
    store = SpillingStore(CAPACITY, arena, disk)
    for key in range(8):
        write(store, arena, key, LARGE + key)
    assert store.spilled > 0
    for key in range(8):
        assert read(arena, store.get(key)) == content(key, LARGE + key)


def test_the_file_gives_back_what_is_deleted(disk):
    for round_ in range(3):
        for key in "abc":
            disk[key] = bytes([round_]) * (1 << 20)
        del disk["b"]
        disk["d"] = b"x" * (1 << 19)
        assert disk.nbytes == (2 << 20) + (1 << 19)
        assert bytes(disk["a"]) == bytes([round_]) * (1 << 20)
    assert os.fstat(disk._fd).st_size <= 4 << 20, "holes are used again"
    assert sorted(disk) == ["a", "c", "d"]
    with pytest.raises(KeyError):
        disk["b"]
    with pytest.raises(ValueError, match="cannot be read into"):
        disk.read_into("d", memoryview(bytearray(1)))


def test_empty_and_replaced_values(disk):
    disk["a"] = b""
    assert (disk["a"], disk.nbytes, "a" in disk) == (b"", 0, True)
    disk["a"] = memoryview(b"abc")
    assert (disk["a"], disk.nbytes, len(disk)) == (b"abc", 3, 1)
    disk.discard("b")
    disk.discard("a")
    assert (disk.nbytes, len(disk)) == (0, 0)
    disk.close()
    disk.close()


def test_an_empty_block_goes_and_comes(store, arena):
    write(store, arena, "a", 0)
    assert store.make_room(CAPACITY) == ["a"]
    assert store.hold("a", "reader").nbytes == 0


class Spilling(RuleBasedStateMachine):
    """Random use of a small store with a disk beside it, against a dict of what was written."""

    clients = st.sampled_from(["c0", "c1"])
    keys = st.integers(0, 12)
    sizes = st.one_of(st.integers(0, 2 * PAGE), st.integers(LARGE, 2 * LARGE), st.just(CAPACITY))

    def __init__(self):
        super().__init__()
        self.arena = Arena.create(8 * CAPACITY)
        self.disk = Spill()
        self.store = SpillingStore(CAPACITY, self.arena, self.disk)
        self.sizes_of = {}
        self.views = []  # (block, client, key, nbytes)

    @rule(key=keys, nbytes=sizes)
    def put(self, key, nbytes):
        if key in self.sizes_of:
            with pytest.raises(KeyExists):
                self.store.allocate(key, nbytes, "writer")
            return
        before = self.store.used, self.store.idle
        if write(self.store, self.arena, key, nbytes) is not None:
            self.sizes_of[key] = nbytes
        else:
            assert before[0] - before[1] + nbytes > CAPACITY - 2 * PAGE, "refused although spilling would have made room"

    @rule(key=keys, client=clients)
    def hold(self, key, client):
        if key in self.sizes_of:
            block = self.store.hold(key, client)
            self.views.append((block, client, key, self.sizes_of[key]))

    @precondition(lambda self: self.views)
    @rule(data=st.data())
    def release(self, data):
        block, client, _, _ = self.views.pop(data.draw(st.integers(0, len(self.views) - 1)))
        self.store.release(block.id, client)

    @rule(key=keys)
    def purge(self, key):
        if self.sizes_of.pop(key, None) is not None:
            self.store.purge(key)

    @rule(key=keys, overcommit=st.booleans())
    def restore(self, key, overcommit):
        if key in self.sizes_of:
            block = self.store.restore(key, overcommit=overcommit)
            assert block is not None or not overcommit

    @rule(nbytes=st.integers(0, CAPACITY))
    def make_room(self, nbytes):
        idle = self.store.idle
        gone = self.store.make_room(nbytes)
        assert all(self.store.on_disk(key) for key in gone)
        assert self.store.free >= nbytes or self.store.idle == 0
        assert idle or not gone

    @rule(client=clients)
    def client_dies(self, client):
        self.store.client_died(client)
        self.views = [view for view in self.views if view[1] != client]

    @invariant()
    def every_view_shows_what_was_written(self):
        for block, _, key, nbytes in self.views:
            assert read(self.arena, block) == content(key, nbytes)

    @invariant()
    def nothing_is_lost_and_the_books_agree(self):
        assert set(self.store.keys()) == set(self.sizes_of)
        spilled = [key for key in self.sizes_of if self.store.on_disk(key)]
        assert self.store.spilled == self.disk.nbytes == sum(self.sizes_of[key] for key in spilled)
        assert len(self.disk) == len(spilled)
        idle = [block for block in self.store.blocks() if block.sealed and block.named and not block.holds]
        assert self.store.idle == sum(block.size for block in idle)

    def teardown(self):
        for key, nbytes in self.sizes_of.items():
            assert read(self.arena, self.store.get(key)) == content(key, nbytes)
        for key in self.sizes_of:
            self.store.purge(key)
        for client in ("c0", "c1"):
            self.store.client_died(client)
        assert (self.store.used, self.store.spilled, self.disk.nbytes, self.store.idle) == (0, 0, 0, 0)
        self.disk.close()
        self.arena.close()


Spilling.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestSpilling = Spilling.TestCase


def test_without_system_calls_of_linux_it_works_on_plain_files(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "preadv")
    monkeypatch.delattr(os, "O_TMPFILE")
    monkeypatch.delattr(os, "posix_fallocate")
    monkeypatch.setattr("headrace_shm.backing._FALLOCATE", None)
    with Arena.create(4 * CAPACITY, tmp_path) as arena, Spill(tmp_path) as disk:
        store = SpillingStore(CAPACITY, arena, disk)
        for key in range(12):
            write(store, arena, key)
        for key in range(12):
            assert read(arena, store.get(key)) == content(key, LARGE)
        assert os.listdir(tmp_path) == []
