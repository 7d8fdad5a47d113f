"""The books of an arena: names, holds, capacity, and when memory may be used again."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from headrace_shm import ALIGNMENT, LARGE, PAGE, KeyExists, NotSealed, ShmError, Store, TooLarge, UnknownKey

CAPACITY = 64 * PAGE


@pytest.fixture
def store():
    return Store(CAPACITY, 4 * CAPACITY)


def sealed(store, key, nbytes=1000, writer="writer"):
    assert store.allocate(key, nbytes, writer) is not None
    return store.seal(key)


def test_a_block_is_found_by_its_key(store):
    block = store.allocate("a", 1000, "writer")
    assert store.get("a") is block
    assert (block.nbytes, block.size, block.writer, block.sealed) == (1000, 1024, "writer", False)
    assert "a" in store
    assert (len(store), list(store.keys()), list(store.blocks())) == (1, ["a"], [block])


def test_the_books_count_rounded_bytes(store):
    sealed(store, "a", 1)
    sealed(store, "b", LARGE + 1)
    assert store.used == ALIGNMENT + LARGE + PAGE
    assert store.free == CAPACITY - store.used
    store.purge("a")
    store.purge("b")
    assert (store.used, store.free, store.high_water) == (0, CAPACITY, ALIGNMENT + LARGE + PAGE)


def test_no_room_is_none_until_something_is_freed(store):
    sealed(store, "a", CAPACITY - PAGE)
    assert store.allocate("b", 2 * PAGE, "writer") is None
    assert "b" not in store
    store.purge("a")
    assert store.allocate("b", 2 * PAGE, "writer") is not None


def test_an_empty_store_has_room_for_its_whole_capacity_whatever_was_there_before():
    store = Store(CAPACITY, 2 * CAPACITY)
    for round_ in range(5):
        blocks = [store.allocate(key, (LARGE if key % 2 else 5) + 977 * round_ * key, "writer") for key in range(40)]
        for block in blocks:
            if block is not None:
                store.seal(block.key)
                store.purge(block.key)
        store.trim(round_ * PAGE)
        assert sealed(store, "all", CAPACITY).size == CAPACITY
        store.purge("all")


def test_a_capacity_that_is_no_multiple_of_a_page_can_be_used_up():
    store = Store(LARGE + 1, 8 * LARGE)
    assert store.allocate("a", LARGE + 1, "writer").size == store.capacity == LARGE + PAGE


def test_overcommit_goes_beyond_the_capacity_and_is_seen(store):
    sealed(store, "a", CAPACITY)
    assert store.allocate("b", LARGE, "writer", overcommit=True) is not None
    assert store.used == CAPACITY + LARGE
    assert store.free == 0
    assert store.allocate("c", CAPACITY, "writer", overcommit=True) is not None
    assert store.allocate("d", CAPACITY, "writer", overcommit=True) is None, "the address space is used up"


@pytest.mark.parametrize(("capacity", "address_space"), [(0, PAGE), (-1, PAGE), (PAGE, PAGE), (PAGE + 1, 3 * PAGE)])
def test_sizes_that_cannot_work_are_refused(capacity, address_space):
    with pytest.raises(ValueError, match="address space"):
        Store(capacity, address_space)


def test_errors_say_what_was_wrong(store):
    sealed(store, "a")
    with pytest.raises(KeyExists, match="'a'"):
        store.allocate("a", 1, "writer")
    with pytest.raises(TooLarge, match=str(CAPACITY)):
        store.allocate("b", CAPACITY + 1, "writer")
    with pytest.raises(TooLarge, match=str(3 * CAPACITY)):
        store.allocate("b", 3 * CAPACITY + 1, "writer", overcommit=True)
    with pytest.raises(ValueError, match="0 or more"):
        store.allocate("b", -1, "writer")
    for call in (store.get, store.seal, store.purge, lambda key: store.hold(key, "client")):
        with pytest.raises(UnknownKey, match="no block is named 'b'"):
            call("b")
    assert issubclass(UnknownKey, KeyError)
    assert all(issubclass(error, ShmError) and issubclass(error, ValueError) for error in (KeyExists, TooLarge, NotSealed))


def test_a_block_under_construction_cannot_be_held(store):
    store.allocate("a", 1, "writer")
    with pytest.raises(NotSealed, match="'writer'"):
        store.hold("a", "reader")


def test_the_name_goes_at_once_and_the_memory_with_the_last_hold(store):
    block = sealed(store, "a")
    for client in ("one", "one", "two"):
        store.hold("a", client)
    assert store.purge("a") == 0
    assert "a" not in store
    assert (store.used, store.held_purged) == (1024, 1024)
    assert store.release(block.id, "one", 2) == 0
    assert store.release(block.id, "two") == 1024
    assert (store.used, store.held_purged, list(store.blocks())) == (0, 0, [])


def test_a_key_can_be_used_again_while_its_old_block_is_held(store):
    old = sealed(store, "a")
    store.hold("a", "reader")
    store.purge("a")
    new = sealed(store, "a")
    assert new.offset != old.offset
    assert store.get("a") is new
    assert store.release(old.id, "reader") == 1024
    assert store.get("a") is new


def test_holds_without_a_purge_free_nothing(store):
    block = sealed(store, "a")
    store.hold("a", "reader", 3)
    assert store.held_by("reader") == {block.id: 3}
    assert store.release(block.id, "reader", 3) == 0
    assert store.held_by("reader") == {}
    assert store.get("a") is block


def test_stale_and_repeated_releases_are_ignored(store):
    old = sealed(store, "a")
    store.hold("a", "reader")
    store.purge("a")
    store.release(old.id, "reader")
    new = sealed(store, "b")
    assert new.offset == old.offset, "the place was recycled"
    store.hold("b", "reader")
    store.hold("b", "other")
    store.purge("b")
    assert [store.release(old.id, "reader") for _ in range(3)] == [0, 0, 0]
    assert store.release(new.id, "stranger") == 0
    assert store.release(new.id, "reader", 5) == 0, "more than it had, and not the other's"
    assert store.release(new.id, "reader") == 0
    assert store.used == 1024
    assert store.release(new.id, "other") == 1024


def test_a_dead_client_loses_its_holds_and_what_it_wrote(store):
    kept, held = sealed(store, "kept"), sealed(store, "held")
    unfinished = store.allocate("unfinished", 10, "client")
    others = store.allocate("others", 10, "other")
    store.hold("kept", "client")
    store.hold("held", "client", 2)
    store.purge("held")
    assert store.client_died("client") == [held, unfinished]
    assert list(store.blocks()) == [kept, others]
    assert (kept.holds, store.held_purged) == (0, 0)
    assert "unfinished" not in store
    assert store.client_died("client") == []
    assert store.release(kept.id, "client") == 0, "a release that was under way when it died"


def test_a_purge_does_not_take_memory_from_under_its_writer(store):
    block = store.allocate("a", 1000, "writer")
    assert store.purge("a") == 0
    with pytest.raises(UnknownKey, match="'a'"):
        store.seal("a")
    assert sealed(store, "a").offset != block.offset
    assert store.abort(block.id) == 1024
    assert store.abort(block.id) == 0
    assert "a" in store


def test_an_aborted_write_leaves_nothing(store):
    block = store.allocate("a", 1000, "writer")
    assert store.abort(block.id) == 1024
    assert ("a" in store, store.used, store.held_purged) == (False, 0, 0)
    finished = sealed(store, "b")
    assert store.abort(finished.id) == 0
    assert "b" in store


def test_sealing_twice_does_nothing(store):
    block = sealed(store, "a")
    assert store.seal("a") is block


def test_trimmed_ranges_are_free_and_backed_shrinks(store):
    sealed(store, "a", 8 * PAGE)
    sealed(store, "b", 8 * PAGE)
    block = store.get("a")
    store.purge("a")
    assert store.backed == 16 * PAGE
    assert store.trim(8 * PAGE) == [(block.offset, 8 * PAGE)]
    assert store.backed == 8 * PAGE


def test_what_is_held_while_it_is_written_outlives_the_end_of_the_write(store):
    block = store.allocate("a", 1000, "writer")
    with pytest.raises(NotSealed):
        store.hold("a", "reader")
    store.hold("a", "reader", unsealed=True)
    assert store.abort(block.id) == 0
    assert ("a" in store, store.used) == (False, 1024)
    assert store.release(block.id, "reader") == 1024
    assert store.used == 0


def test_what_is_purged_while_it_is_written_waits_for_its_writer_also_after_the_last_hold(store):
    block = store.allocate("a", 1000, "writer")
    store.hold("a", "reader", unsealed=True)
    store.purge("a")
    assert store.release(block.id, "reader") == 0
    assert store.abort(block.id) == 1024


class Books(RuleBasedStateMachine):
    """Random use of a store beside a model that keeps every block in a plain dict."""

    names = Bundle("names")
    ids = Bundle("ids")
    clients = st.sampled_from(["c0", "c1", "c2"])
    sizes = st.one_of(st.integers(0, 3 * PAGE), st.integers(LARGE, 2 * LARGE), st.just(CAPACITY))

    def __init__(self):
        super().__init__()
        self.store = Store(CAPACITY, 2 * CAPACITY)
        self.live = {}  # id -> [block, holds by client]
        self.named = {}  # key -> id
        self.writing = set()  # ids
        self.counter = 0
        self.overcommitted = False

    @rule(target=names, nbytes=sizes, writer=clients, overcommit=st.booleans())
    def allocate(self, nbytes, writer, overcommit):
        self.counter += 1
        key, used = self.counter, self.store.used
        block = self.store.allocate(key, nbytes, writer, overcommit=overcommit)
        if block is None:
            assert self.store.used == used
            return multiple()
        assert block.nbytes == nbytes <= block.size
        assert overcommit or self.store.used <= CAPACITY
        self.overcommitted |= overcommit
        assert block.id > max(self.live, default=0)
        self.live[block.id] = [block, {}]
        self.named[key] = block.id
        self.writing.add(block.id)
        return key

    @rule(target=ids, key=names)
    def seal(self, key):
        if key not in self.named:
            with pytest.raises(UnknownKey):
                self.store.seal(key)
            return multiple()
        block_id = self.store.seal(key).id
        self.writing.discard(block_id)
        return block_id

    @rule(target=ids, key=names, client=clients, count=st.integers(1, 3), unsealed=st.booleans())
    def hold(self, key, client, count, unsealed):
        if key not in self.named or not (unsealed or self.live[self.named[key]][0].sealed):
            return multiple()
        block = self.store.hold(key, client, count, unsealed=unsealed)
        holds = self.live[block.id][1]
        holds[client] = holds.get(client, 0) + count
        return block.id

    @rule(block_id=ids, client=clients, count=st.integers(1, 3))
    def release(self, block_id, client, count):
        freed = self.store.release(block_id, client, count)
        if block_id in self.live:
            holds = self.live[block_id][1]
            holds[client] = max(0, holds.get(client, 0) - count)
        self.expect_freed(block_id, freed)

    @rule(key=consumes(names))
    def purge(self, key):
        if key in self.named:
            freed = self.store.purge(key)
            self.expect_freed(self.named.pop(key), freed)

    @rule(key=names)
    def abort(self, key):
        block_id = self.named.get(key, 0)
        if block_id and not self.live[block_id][0].sealed:
            del self.named[key]
            self.writing.discard(block_id)
            self.expect_freed(block_id, self.store.abort(block_id))

    @rule(client=clients)
    def client_dies(self, client):
        freed = {block.id for block in self.store.client_died(client)}
        gone = set()
        for block_id, (block, holds) in list(self.live.items()):
            holds.pop(client, None)
            if block.writer == client and block_id in self.writing:
                self.named.pop(block.key, None)
                self.writing.discard(block_id)
            if self.is_garbage(block_id):
                del self.live[block_id]
                gone.add(block_id)
        assert freed == gone

    @rule(target_pages=st.integers(0, 80))
    def trim(self, target_pages):
        before = self.store.backed
        given = self.store.trim(target_pages * PAGE)
        assert self.store.backed == before - sum(size for _, size in given)
        taken = [(block.offset, block.size) for block, _ in self.live.values()]
        assert all(end <= at or at + size <= start for start, n in given for end in [start + n] for at, size in taken)
        assert all(start % PAGE == 0 and size % PAGE == 0 for start, size in given)

    def is_garbage(self, block_id):
        block, holds = self.live[block_id]
        return block.key not in self.named and block_id not in self.writing and not any(holds.values())

    def expect_freed(self, block_id, freed):
        if block_id in self.live and self.is_garbage(block_id):
            assert freed == self.live.pop(block_id)[0].size
        else:
            assert freed == 0

    @invariant()
    def the_books_agree(self):
        assert {block.id for block in self.store.blocks()} == set(self.live)
        assert set(self.store.keys()) == set(self.named)
        assert all(block.holds == sum(holds.values()) for block, holds in self.live.values())
        assert self.store.used == sum(block.size for block, _ in self.live.values())
        assert self.store.held_purged == sum(block.size for block, _ in self.live.values() if block.key not in self.named)
        assert self.store.used <= self.store.backed
        assert self.overcommitted or self.store.used <= CAPACITY

    @invariant()
    def blocks_and_free_ranges_tile_the_address_space(self):
        tiles = sorted([(block.offset, block.size) for block, _ in self.live.values()] + self.store.free_ranges())
        position = 0
        for offset, size in tiles:
            assert offset == position
            position += size
        assert position == 2 * CAPACITY

    def teardown(self):
        for key in list(self.named):
            self.store.purge(key)
        for client in ("c0", "c1", "c2"):
            self.store.client_died(client)
        assert (self.store.used, self.store.held_purged, len(self.store), list(self.store.blocks())) == (0, 0, 0, [])
        assert self.store.allocate("all", CAPACITY, "c0") is not None


Books.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBooks = Books.TestCase
