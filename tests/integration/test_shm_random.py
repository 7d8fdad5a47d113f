"""Random operations of several processes on one arena, with kills, purges and a disk behind it: nobody ever sees a wrong byte."""

import os
import tempfile
import zlib

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from shm_process import Process

from headrace_shm import LARGE, Arena
from headrace_shm.spill import Spill
from headrace_shm.spilling import SpillingStore

CAPACITY = 6 * LARGE
NAMES = ("p0", "p1", "p2")


class Processes(RuleBasedStateMachine):
    """An owner and three processes that write, read, keep, let go, and are killed, against a dict of what was written."""

    keys = st.integers(0, 5)
    names = st.sampled_from(NAMES)
    sizes = st.sampled_from([5000, LARGE, LARGE, 2 * LARGE])

    @initialize()
    def start(self):
        self.folder = tempfile.TemporaryDirectory()
        self.arena = Arena.create(4 * CAPACITY, self.folder.name)
        self.disk = Spill(self.folder.name)
        self.store = SpillingStore(CAPACITY, self.arena, self.disk)
        self.generation = dict.fromkeys(NAMES, 0)
        self.processes = {name: self.launch() for name in NAMES}
        self.written = {}  # key -> (byte, nbytes)
        self.kept = {}  # (name, block id) -> checksum
        self.number = 0

    def launch(self):
        process = Process("inherited", self.arena.fd)
        assert process.answer() == "ready"
        return process

    def client(self, name):
        return name, self.generation[name]

    @rule(key=keys, name=names, nbytes=sizes, sealed=st.sampled_from([True] * 7 + [False]))
    def write(self, key, name, nbytes, sealed):
        """A process fills a block; it may be killed before it says so."""
        if key in self.store:
            return
        block = self.store.allocate(key, nbytes, self.client(name))
        if block is None:
            return
        self.number = self.number % 255 + 1
        self.arena.reserve(block.offset, nbytes)
        self.processes[name].ask("fill", block.offset, nbytes, self.number)
        if sealed:
            self.store.seal(key)
            self.written[key] = self.number, nbytes
        else:
            self.kill(name)

    @precondition(lambda self: self.written)
    @rule(data=st.data(), name=names)
    def keep(self, data, name):
        """A process maps a block, from disk if it was spilled."""
        key = data.draw(st.sampled_from(sorted(self.written)))
        byte, nbytes = self.written[key]
        block = self.store.hold(key, self.client(name))
        if (name, block.id) in self.kept:
            self.store.release(block.id, self.client(name))
            return
        checksum = self.processes[name].ask("keep", block.id, block.offset, block.nbytes)
        assert checksum == zlib.crc32(bytes([byte]) * nbytes)
        self.kept[name, block.id] = checksum

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def let_go(self, data):
        """A process drops a view that it kept."""
        name, block_id = data.draw(st.sampled_from(sorted(self.kept)))
        for ended in self.processes[name].ask("drop", block_id):
            self.store.release(ended, self.client(name))
        del self.kept[name, block_id]

    @precondition(lambda self: self.written)
    @rule(data=st.data())
    def purge(self, data):
        key = data.draw(st.sampled_from(sorted(self.written)))
        del self.written[key]
        self.store.purge(key)

    @rule(nbytes=st.integers(0, CAPACITY))
    def make_room(self, nbytes):
        self.store.make_room(nbytes)

    @rule(name=st.sampled_from([*NAMES, None, None, None]))
    def kill(self, name):
        """Kill a process and start another in its place; half of the time nobody, for that takes long."""
        if name is None:
            return
        self.processes[name].kill()
        self.processes[name].end()
        self.store.client_died(self.client(name))
        self.kept = {place: checksum for place, checksum in self.kept.items() if place[0] != name}
        self.generation[name] += 1
        self.processes[name] = self.launch()

    @rule()
    def give_back(self):
        for offset, nbytes in self.store.trim(0):
            self.arena.release_pages(offset, nbytes)

    @invariant()
    def what_is_kept_never_changes(self):
        for (name, block_id), checksum in self.kept.items():
            assert self.processes[name].ask("check", block_id) == checksum

    @invariant()
    def nothing_has_a_name_on_disk(self):
        assert os.listdir(self.folder.name) == []

    def teardown(self):
        for name in NAMES:
            self.processes[name].end()
            self.store.client_died(self.client(name))
        for key in self.written:
            self.store.purge(key)
        assert (self.store.used, self.store.spilled, list(self.store.blocks())) == (0, 0, [])
        self.disk.close()
        self.arena.close()
        self.folder.cleanup()


Processes.TestCase.settings = settings(max_examples=6, stateful_step_count=50, deadline=None)
TestProcesses = pytest.mark.timeout(120)(Processes.TestCase)
