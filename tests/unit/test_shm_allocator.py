"""Places in an address space: best fit, coalescing, temperature, zones, and what may be given back."""

import doctest
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_shm import allocator, ranges, store
from headrace_shm.allocator import ALIGNMENT, LARGE, PAGE, Allocator, Zone, round_up
from headrace_shm.ranges import FreeRanges

MIB = 1 << 20


@pytest.mark.parametrize("module", [allocator, ranges, store])
def test_the_examples_in_the_documentation_are_true(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_example_in_the_readme_is_true():
    result = doctest.testfile(str(Path(store.__file__).with_name("README.md")), module_relative=False)
    assert result.attempted > 10
    assert result.failed == 0


def test_a_range_merges_with_both_neighbours():
    free = FreeRanges()
    for start, end in [(0, 10), (20, 30), (10, 20)]:
        free.add(start, end)
    assert list(free) == [(0, 30)]
    assert free.nbytes == 30


def test_the_smallest_range_that_fits_is_found():
    free = FreeRanges()
    for start, size in [(0, 100), (200, 40), (400, 60)]:
        free.add(start, start + size)
    assert [free.find(size) for size in (100, 50, 40, 1, 101)] == [0, 400, 200, 200, None]


def test_among_equals_the_one_freed_last_is_found_first():
    free = FreeRanges()
    for start in (0, 200, 100):
        free.add(start, start + 50)
    assert free.find(50) == 100
    assert free.largest_first() == [(0, 50), (200, 250), (100, 150)]


@given(st.permutations(range(12)))
def test_pieces_freed_in_any_order_become_one_range(order):
    free = FreeRanges()
    for piece in order:
        free.add(piece * 64, piece * 64 + 64)
    assert list(free) == [(0, 12 * 64)]
    assert free.find(12 * 64) == 0


@pytest.mark.parametrize(
    ("nbytes", "size"),
    [(0, ALIGNMENT), (1, ALIGNMENT), (65, 128), (LARGE - 1, LARGE), (LARGE, LARGE), (LARGE + 1, LARGE + PAGE)],
)
def test_sizes_are_rounded_to_lines_or_pages(nbytes, size):
    assert Allocator(4 * MIB).allocate(nbytes, MIB)[1] == size


def test_large_blocks_begin_at_a_page_whatever_small_ones_did_before():
    places = Allocator(4 * MIB)
    for _ in range(10):
        places.allocate(100, MIB)
        offset, size = places.allocate(LARGE + 1, MIB)
        assert offset % PAGE == 0
        assert size % PAGE == 0


def test_memory_that_was_used_is_used_again_before_any_that_was_not():
    places = Allocator(64 * MIB)
    held = [places.allocate(MIB, MIB) for _ in range(8)]
    for place in held[::2]:
        places.free(*place)
    again = [places.allocate(MIB, MIB) for _ in range(4)]
    assert sorted(again) == sorted(held[::2])
    assert places.backed == 8 * MIB


def test_growth_begins_in_the_used_memory_beside_it():
    places = Allocator(64 * MIB)
    places.free(*places.allocate(MIB, MIB))
    assert places.allocate(3 * MIB, 3 * MIB) == (0, 3 * MIB)
    assert places.backed == 3 * MIB


def test_a_small_block_that_stays_does_not_split_the_hole_of_a_large_one():
    places = Allocator(16 * MIB)
    first = places.allocate(4 * MIB, 4 * MIB)
    second = places.allocate(4 * MIB, 4 * MIB)
    places.free(*first)
    places.allocate(1000, MIB)
    assert places.allocate(4 * MIB, 4 * MIB) == first
    assert second[0] != first[0]


def test_small_blocks_overflow_into_the_large_zone_page_by_page():
    places = Allocator(8 * PAGE)
    small_zone = 2 * PAGE // ALIGNMENT
    assert all(places.allocate(ALIGNMENT, PAGE)[1] == ALIGNMENT for _ in range(small_zone))
    place = places.allocate(ALIGNMENT, PAGE)
    assert place == (0, PAGE)
    places.free(*place)
    assert places.allocate(ALIGNMENT, PAGE - 1) is None


def test_no_room_is_none_and_changes_nothing():
    places = Allocator(16 * PAGE)
    before = places.free_ranges()
    assert places.allocate(13 * PAGE, 16 * PAGE) is None
    assert places.allocate(12 * PAGE + 1, 16 * PAGE) is None
    assert places.allocate(LARGE, LARGE - 1) is None
    assert places.free_ranges() == before


def test_used_and_unused_neighbours_are_joined_when_nothing_else_is_long_enough():
    zone = Zone(0, 4 * PAGE)
    places = [zone.allocate(PAGE) for _ in range(4)]
    for start in places:
        zone.free(start, PAGE)
    assert zone.trim(PAGE) == [(3 * PAGE, PAGE)]
    assert zone.allocate(2 * PAGE) == 0
    zone.free(0, 2 * PAGE)
    assert zone.allocate(3 * PAGE + ALIGNMENT) == 0
    assert zone.cold == 0
    assert sorted(zone.free_ranges()) == [(3 * PAGE + ALIGNMENT, 4 * PAGE)]


def test_trim_gives_back_whole_pages_largest_first_and_only_what_is_needed():
    places = Allocator(64 * MIB)
    blocks = [places.allocate(size * MIB, 64 * MIB) for size in (1, 4, 1, 2, 1)]
    for block in blocks[1::2]:
        places.free(*block)
    assert places.backed == 9 * MIB
    assert places.trim(9 * MIB) == []
    assert places.trim(4 * MIB) == [(1 * MIB, 4 * MIB), (7 * MIB, 1 * MIB)]
    assert places.backed == 4 * MIB
    assert places.trim(0) == [(6 * MIB, 1 * MIB)]
    assert places.trim(0) == []
    assert places.backed == 3 * MIB


def test_what_was_given_back_is_used_last():
    places = Allocator(64 * MIB)
    blocks = [places.allocate(MIB, MIB) for _ in range(4)]
    places.free(*blocks[0])
    assert places.trim(0) == [blocks[0]]
    places.free(*blocks[2])
    assert places.allocate(MIB, MIB) == blocks[2]


def test_a_page_that_a_small_block_touches_is_not_given_back():
    places = Allocator(64 * MIB)
    kept, size = places.allocate(ALIGNMENT, MIB)
    place = places.allocate(3 * PAGE, MIB)
    places.free(*place)
    given = places.trim(0)
    assert given == [(round_up(kept + size, PAGE), 3 * PAGE)]


@given(st.lists(st.tuples(st.integers(0, 3 * LARGE), st.booleans()), max_size=60), st.randoms(use_true_random=False))
def test_places_and_free_ranges_tile_the_address_space(requests, random):
    places, live = Allocator(40 * LARGE), []
    for nbytes, drop in requests:
        place = places.allocate(nbytes, 40 * LARGE)
        if place is not None:
            assert place[1] >= nbytes
            live.append(place)
        if drop and live:
            places.free(*live.pop(random.randrange(len(live))))
        if nbytes % 7 == 0:
            places.trim(sum(size for _, size in live) + LARGE)
        tiles = sorted(live + places.free_ranges())
        assert tiles[0][0] == 0
        assert all(a + size == b for (a, size), (b, _) in zip(tiles, [*tiles[1:], (40 * LARGE, 0)], strict=True))
        assert sum(size for _, size in live) <= places.backed <= places.address_space
    for place in live:
        places.free(*place)
    places.trim(0)
    assert places.backed == 0
    assert places.allocate(places.largest, 40 * LARGE) == (0, places.largest)
