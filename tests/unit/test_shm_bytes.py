"""Arena and store together, driven with real bytes: what someone holds never changes, whatever is purged and recycled meanwhile."""

import os
import pickle

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from headrace_shm import LARGE, PAGE, Arena, Store

CAPACITY = 4 * LARGE

KEPT = {
    "view": lambda view: view,
    "slice": lambda view: view[1:],
    "array": lambda view: np.frombuffer(view, np.uint8)[::2],
    "unpickled": lambda view: pickle.loads(pickle.dumps(np.asarray(view), 5, buffer_callback=[].append), buffers=[view]),
}


def pattern(block_id, nbytes):
    """Bytes that no other block has."""
    return np.random.default_rng(block_id).integers(1, 256, nbytes, np.uint8)


class Bytes(RuleBasedStateMachine):
    """A reader keeps views of blocks of a store that is always nearly full."""

    keys, views = Bundle("keys"), Bundle("views")

    @initialize()
    def start(self):
        self.arena = Arena.create(2 * CAPACITY)
        self.store = Store(CAPACITY, 2 * CAPACITY)
        self.counter = 0
        self.ended = []  # ids of blocks whose views are gone, as a reader would report them
        self.kept = {}

    @rule(target=keys, nbytes=st.one_of(st.integers(0, 5000), st.integers(LARGE, 2 * LARGE)))
    def write(self, nbytes):
        self.counter += 1
        block = self.store.allocate(self.counter, nbytes, "writer")
        if block is None:
            return multiple()
        self.arena.reserve(block.offset, block.nbytes)
        self.arena.writable(block.offset, nbytes)[:] = pattern(block.id, nbytes).tobytes()
        return self.store.seal(self.counter).key

    @rule(target=views, key=keys, kind=st.sampled_from(sorted(KEPT)))
    def keep(self, key, kind):
        if key not in self.store:
            return multiple()
        block = self.store.hold(key, "reader")
        view = self.arena.readonly(block.offset, block.nbytes, lambda block_id=block.id: self.ended.append(block_id))
        name = (block.id, kind, len(self.kept))
        self.kept[name] = (KEPT[kind](view), KEPT[kind](memoryview(pattern(block.id, block.nbytes))))
        return name

    @rule(name=consumes(views))
    def drop(self, name):
        held = self.store.held_by("reader")[name[0]]
        self.kept[name] = None
        assert self.ended == [name[0]]
        self.store.release(self.ended.pop(), "reader")
        assert self.store.held_by("reader").get(name[0], 0) == held - 1

    @rule(key=consumes(keys))
    def purge(self, key):
        if key in self.store:
            self.store.purge(key)

    @rule(limit=st.integers(0, CAPACITY))
    def trim(self, limit):
        for offset, nbytes in self.store.trim(limit):
            self.arena.release_pages(offset, nbytes)

    @invariant()
    def what_is_held_never_changes(self):
        for pair in filter(None, self.kept.values()):
            assert bytes(pair[0]) == bytes(pair[1])
        assert self.ended == []

    @invariant()
    def the_books_know_what_memory_is_in_use(self):
        assert self.arena.backed <= self.store.backed
        assert os.fstat(self.arena.fd).st_blocks * 512 <= self.store.backed

    def teardown(self):
        for key in list(self.store.keys()):
            self.store.purge(key)
        self.kept.clear()
        for block_id in self.ended:
            self.store.release(block_id, "reader")
        assert self.store.used == 0
        for offset, nbytes in self.store.trim(0):
            self.arena.release_pages(offset, nbytes)
        assert self.store.backed < 2 * PAGE
        self.arena.close()


Bytes.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestBytes = Bytes.TestCase
