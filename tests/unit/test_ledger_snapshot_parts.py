"""A snapshot that is too large for one message is split into parts, and comes back whole."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.ledger.snapshot_parts import in_parts, part_name, whole
from headrace_schemas import SCHEMA_VERSION, SNAPSHOT_LAYOUT, Events, LedgerSnapshot, Turn, encode
from headrace_schemas.limits import MAX_EXACT

SEQ = st.integers(1, MAX_EXACT)
NAMES = st.lists(st.text("abcdefgh234567", min_size=1, max_size=30), max_size=60)
RANGES = st.lists(st.tuples(SEQ, SEQ), max_size=60)
EVENTS = st.builds(
    lambda seq, ids: Turn(
        seq=seq, time=1.5, message=Events(job="a", host="h", epoch=2, rejoining=True, produced=ids, produced_attempts=[], sizes=[])
    ),
    SEQ,
    st.lists(st.integers(0, 1000), max_size=300),
)


@st.composite
def snapshots(draw: st.DrawFn) -> LedgerSnapshot:
    ranges = draw(RANGES)
    return LedgerSnapshot(
        service="scheduler",
        schema=SCHEMA_VERSION,
        layout=SNAPSHOT_LAYOUT,
        seq=draw(SEQ),
        time=2.5,
        jobs=draw(NAMES),
        first=[first for first, _ in ranges],
        last=[last for _, last in ranges],
        turns=draw(st.lists(EVENTS, max_size=5)),
        over=draw(NAMES),
    )


@given(snapshot=snapshots(), most=st.integers(2_500, 6_000))
def test_the_parts_are_small_and_make_the_whole_again(snapshot: LedgerSnapshot, most: int) -> None:
    parts = in_parts(snapshot, most)
    assert whole(parts) == snapshot
    assert [part.service for part in parts] == [part_name("scheduler", number) for number in range(len(parts))]
    largest_turn = max((len(encode(turn)) for turn in snapshot.turns), default=0)
    for part in parts:
        assert len(encode(part)) <= max(most, largest_turn + 2_000)
        assert len(part.first) == len(part.last)


@pytest.mark.parametrize(("jobs", "count"), [(10, 1), (100_000, 3)])
def test_a_small_snapshot_is_one_part(jobs: int, count: int) -> None:
    names = [f"{number:012}" for number in range(jobs)]
    snapshot = LedgerSnapshot(service="controller", schema=SCHEMA_VERSION, layout=SNAPSHOT_LAYOUT, seq=5, time=1.0, jobs=names)
    parts = in_parts(snapshot, 512 * 1024)
    assert len(parts) == count
    assert msgspec.structs.replace(parts[0], jobs=names) == snapshot
