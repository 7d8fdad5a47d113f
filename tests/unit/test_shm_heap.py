"""Arrays that are allocated in shared memory: who owns their memory, and what happens to it."""

import pickle
import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace_shm import LARGE, Arena, Store
from headrace_shm.heap import Heap, Slab

HEADROOM = 1024
CAPACITY = 64 * LARGE
RUNNER = "runner"


class Owner:
    """The other side of a heap: grants, takes back, seals; counts what it was told."""

    def __init__(self, capacity=CAPACITY, **settings):
        self.arena = Arena.create(4 * capacity)
        self.store = Store(capacity, 4 * capacity)
        self.granted = 0
        self.returned = []
        self.heap = Heap(self.arena, self.grant, self.take_back, headroom=HEADROOM, **settings)

    def grant(self, nbytes):
        block = self.store.allocate(("granted", self.granted), nbytes, RUNNER)
        if block is None:
            return None
        self.granted += 1
        self.arena.reserve(block.offset, nbytes)
        return Slab(block.id, block.offset, block.nbytes)

    def take_back(self, block_id):
        self.returned.append(block_id)
        assert self.store.abort(block_id) > 0

    def seal(self, block_id):
        """What the owner does when the process reports the block as a result."""
        key = next(block.key for block in self.store.blocks() if block.id == block_id)
        self.store.seal(key)
        return key


@pytest.fixture
def owner():
    return Owner()


def test_large_arrays_lie_in_granted_blocks_and_small_ones_do_not(owner):
    large, small = owner.heap.empty((LARGE // 8,)), owner.heap.empty((LARGE // 8 - 1,))
    block = next(owner.store.blocks())
    assert owner.granted == 1
    assert owner.arena.offset_of(large) == block.offset + HEADROOM
    assert owner.arena.offset_of(small) is None
    assert block.nbytes == HEADROOM + large.nbytes
    assert large.flags.writeable
    assert large.flags.aligned
    assert large.__array_interface__["data"][0] % 64 == 0


def test_an_array_of_times_is_found_though_it_exports_no_buffer(owner):
    times = owner.heap.empty(LARGE, "M8[s]")
    block = next(owner.store.blocks())
    assert owner.heap.find(times) == block.id
    assert owner.heap.find(times[1:]) is None


@pytest.mark.parametrize(
    ("shape", "dtype", "order"),
    [
        ((300, 400), "f4", "F"),
        ((1 << 20,), bool, "C"),
        (1 << 17, complex, "C"),
        ((0, 5), float, "C"),
        ((), float, "C"),
        ([300, 400], None, "C"),
        (np.array([300, 400]), float, "C"),
        (np.int64(1 << 17), "i1", "C"),
        (1 << 15, [("t", "f4"), ("when", "M8[s]")], "C"),
        (1 << 15, ("f8", (2, 3)), "C"),
        (1 << 15, "U3", "C"),
    ],
)
def test_arrays_are_as_numpy_makes_them(owner, shape, dtype, order):
    ours, theirs = owner.heap.empty(shape, dtype, order), np.empty(shape, dtype, order)
    assert (ours.shape, ours.dtype, ours.strides) == (theirs.shape, theirs.dtype, theirs.strides)


def test_arrays_of_objects_are_private(owner):
    assert owner.heap.empty(LARGE, object)[0] is None
    assert owner.granted == 0


def test_bad_shapes_are_refused_and_lose_nothing(owner):
    for shape in [(-1, LARGE), (-300, -300)]:
        with pytest.raises(ValueError, match="negative"):
            owner.heap.empty(shape, np.uint8)
    owner.heap.trim()
    assert owner.store.used == 0


def test_without_room_arrays_are_private(owner):
    kept = [owner.heap.empty(CAPACITY // 4, np.uint8) for _ in range(5)]
    assert [owner.arena.offset_of(array) is None for array in kept] == [False, False, False, True, True]


def test_a_temporary_leaves_its_block_to_the_next_of_its_size(owner):
    first = owner.heap.empty(LARGE, np.uint8)
    where = owner.arena.offset_of(first)
    part = first[10:]
    del first
    assert owner.arena.offset_of(owner.heap.empty(LARGE, np.uint8)) != where, "a slice of it is alive"
    del part
    kept = [owner.heap.empty(LARGE // 2, np.uint16), owner.heap.empty(LARGE, np.uint8)]
    assert where in [owner.arena.offset_of(array) for array in kept]
    assert owner.granted == 2
    assert owner.returned == []


def test_spare_blocks_beyond_the_limit_go_back_oldest_first():
    owner = Owner(spare=3 * LARGE)
    kept = [owner.heap.empty(LARGE, np.uint8) for _ in range(5)]
    while kept:
        kept.pop(0)
    owner.heap.empty(1 << 18, np.uint8)
    assert owner.returned == [1, 2, 3]
    owner.heap.trim()
    assert owner.store.used == 0


def test_only_whole_arrays_are_found(owner):
    array = owner.heap.empty((256, 256))
    assert owner.heap.find(array) == 1
    assert owner.heap.find(array.T) == 1
    assert owner.heap.find(memoryview(array)) == 1
    assert owner.heap.find(array.view(np.uint8).reshape(-1)) == 1
    for other in (array[1:], array[:-1], array[:, 1:], array.copy(), b"x", b""):
        assert owner.heap.find(other) is None
    owner.heap.keep(1)
    assert owner.heap.find(array) is None, "it is to be a result already"


def test_a_block_is_taken_once_nothing_refers_to_its_array(owner):
    array = owner.heap.empty(LARGE, np.uint8)
    array[:] = 7
    owner.heap.keep(1)
    del array
    assert owner.heap.take(1) is None
    key = owner.seal(1)
    again = owner.heap.empty(LARGE, np.uint8)
    assert owner.heap.find(again) == 2, "the first is a result"
    block = owner.store.get(key)
    assert bytes(owner.arena.writable(block.offset + HEADROOM, LARGE)) == bytes([7]) * LARGE
    owner.store.purge(key)
    assert owner.returned == []


def test_an_array_that_something_refers_to_is_not_taken(owner):
    array = owner.heap.empty(LARGE, np.uint8)
    array[:] = 7
    view = array[5:6]
    owner.heap.keep(1)
    del array
    contents = owner.heap.take(1)
    assert bytes(contents) == bytes([7]) * LARGE
    view[:] = 8
    assert contents[5] == 8, "it is no copy"
    assert owner.heap.find(contents) == 1, "it may become a result later"
    del view
    owner.heap.trim()
    assert owner.returned == [], "its bytes are still looked at"
    del contents
    owner.heap.trim()
    assert owner.returned == [1]


def test_a_block_that_is_kept_is_not_used_again_when_its_array_is_gone(owner):
    array = owner.heap.empty(LARGE, np.uint8)
    owner.heap.keep(1)
    del array
    other = owner.heap.empty(LARGE, np.uint8)
    owner.heap.trim()
    assert (owner.heap.find(other), owner.returned) == (2, [])
    assert owner.heap.take(1) is None


def test_an_array_may_end_in_another_thread(owner):
    box = [owner.heap.empty(LARGE, np.uint8)]
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    owner.heap.trim()
    assert owner.returned == [1]


def test_a_value_is_handed_over_without_a_copy_of_its_array(owner):
    """The pickle goes into the headroom, and a reader builds the value on the block."""
    field = owner.heap.empty((128, 256))
    field[:] = np.arange(field.size).reshape(field.shape)
    parts = []
    head = pickle.dumps({"t2m": field}, protocol=5, buffer_callback=parts.append)
    slab = owner.heap.find(parts[0].raw())
    owner.heap.head(slab)[: len(head)] = head
    owner.heap.keep(slab)
    expected, where = field.copy(), owner.arena.offset_of(field)
    del field
    parts.clear()
    assert owner.heap.take(slab) is None
    key = owner.seal(slab)
    block = owner.store.hold(key, "reader")
    view = owner.arena.readonly(block.offset, block.nbytes, list)
    value = pickle.loads(view[:HEADROOM], buffers=[view[HEADROOM:]])
    assert np.array_equal(value["t2m"], expected)
    assert not value["t2m"].flags.writeable
    assert owner.arena.offset_of(value["t2m"]) == where


def test_offset_of_knows_the_arena_from_other_memory(owner):
    arena = owner.arena
    readonly = np.frombuffer(arena.readonly(8192, 100, list), np.uint8)
    assert (arena.offset_of(readonly), arena.offset_of(readonly[3:5]), arena.offset_of(readonly[::2])) == (8192, 8195, None)
    assert arena.offset_of(arena.writable(arena.address_space - 8, 8)) == arena.address_space - 8
    with Arena.create(1 << 20) as other:
        assert arena.offset_of(other.writable(0, 8)) is None
    assert [arena.offset_of(thing) for thing in (b"", b"abc", np.empty(0), np.zeros(5), bytearray(4))] == [None] * 5
    view = arena.writable(0, 8)
    arena.close()
    assert arena.offset_of(view) is None


class Arrays(RuleBasedStateMachine):
    """Random arrays, some taken and read by others; each must show its own number until it is gone."""

    sizes = st.sampled_from([LARGE // 2, LARGE, LARGE + 8, 4 * LARGE, 20 * LARGE])

    def __init__(self):
        super().__init__()
        self.owner = Owner(spare=8 * LARGE)
        self.arrays = {}
        self.results = {}  # key -> number
        self.number = 0

    @rule(nbytes=sizes)
    def make(self, nbytes):
        self.number = self.number % 250 + 1
        array = self.owner.heap.empty(nbytes, np.uint8)
        array[:] = self.number
        self.arrays[id(array)] = array, self.number

    @precondition(lambda self: self.arrays)
    @rule(data=st.data())
    def drop(self, data):
        del self.arrays[data.draw(st.sampled_from(list(self.arrays)))]

    @precondition(lambda self: self.arrays)
    @rule(data=st.data())
    def hand_over(self, data):
        array, number = self.arrays.pop(data.draw(st.sampled_from(list(self.arrays))))
        leftover = array[-1:] if data.draw(st.booleans()) else None
        slab = self.owner.heap.find(array)
        if slab is None:
            return
        self.owner.heap.keep(slab)
        del array
        if data.draw(st.booleans()):
            self.owner.heap.trim()
        copied = self.owner.heap.take(slab)
        assert (copied is not None) == (leftover is not None)
        if copied is None:
            self.results[self.owner.seal(slab)] = number

    @precondition(lambda self: self.results)
    @rule(data=st.data())
    def purge(self, data):
        key = data.draw(st.sampled_from(list(self.results)))
        del self.results[key]
        self.owner.store.purge(key)

    @rule()
    def trim(self):
        self.owner.heap.trim()

    @invariant()
    def every_array_shows_its_number(self):
        for array, number in self.arrays.values():
            assert array[0] == array[-1] == number

    @invariant()
    def every_result_shows_its_number(self):
        for key, number in self.results.items():
            block = self.owner.store.get(key)
            shown = self.owner.arena.writable(block.offset + HEADROOM, block.nbytes - HEADROOM)
            assert shown[0] == shown[-1] == number

    def teardown(self):
        self.arrays.clear()
        self.owner.heap.trim()
        for key in self.results:
            self.owner.store.purge(key)
        assert (self.owner.store.used, list(self.owner.store.blocks())) == (0, [])
        self.owner.arena.close()


Arrays.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestArrays = Arrays.TestCase
