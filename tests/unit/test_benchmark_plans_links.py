"""Transfers share links fairly: hand-solved cases, and the definition of max-min fairness on random ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.plans.fair_links import FairLinks, Floats, fair_rates


def counts(hosts: int, pairs: dict[tuple[int, int], int]) -> Floats:
    count = np.zeros((hosts, hosts))
    for pair, number in pairs.items():
        count[pair] = number
    return count


def test_one_transfer_gets_the_whole_link() -> None:
    assert fair_rates(counts(2, {(0, 1): 1}), 8.0)[0, 1] == 8.0


def test_transfers_that_need_not_share_do_not() -> None:
    rate = fair_rates(counts(4, {(0, 1): 1, (1, 0): 1, (2, 3): 1}), 8.0)
    assert (rate[0, 1], rate[1, 0], rate[2, 3]) == (8.0, 8.0, 8.0)


def test_what_a_full_link_leaves_goes_to_others() -> None:
    # Three transfers into host 3 get a third each, so the second transfer of host 0 gets the other two thirds of its link.
    rate = fair_rates(counts(4, {(0, 3): 1, (1, 3): 1, (2, 3): 1, (0, 1): 1}), 9.0)
    assert (rate[0, 3], rate[1, 3], rate[2, 3], rate[0, 1]) == pytest.approx((3.0, 3.0, 3.0, 6.0))


def test_each_transfer_counts_not_each_pair() -> None:
    rate = fair_rates(counts(3, {(0, 1): 3, (0, 2): 1}), 8.0)
    assert (rate[0, 1], rate[0, 2]) == (2.0, 2.0)


COUNTS = st.integers(2, 5).flatmap(
    lambda hosts: st.dictionaries(
        st.tuples(st.integers(0, hosts - 1), st.integers(0, hosts - 1)).filter(lambda pair: pair[0] != pair[1]), st.integers(1, 4)
    ).map(lambda pairs: counts(hosts, pairs))
)


@given(COUNTS)
def test_rates_are_max_min_fair(count: Floats) -> None:
    """No link carries more than it can, and each transfer uses a full link on which no other is faster."""
    rate, bandwidth = fair_rates(count, 7.0), 7.0
    up, down = (count * rate).sum(axis=1), (count * rate).sum(axis=0)
    assert max(up.max(), down.max()) <= bandwidth * (1 + 1e-9)
    for source, target in zip(*np.nonzero(count), strict=True):
        own = rate[source, target] * (1 + 1e-9)
        bottleneck_up = up[source] >= bandwidth * (1 - 1e-9) and rate[source].max() <= own
        bottleneck_down = down[target] >= bandwidth * (1 - 1e-9) and rate[:, target].max() <= own
        assert bottleneck_up or bottleneck_down


def ends(links: FairLinks[str]) -> dict[str, float]:
    """Let all transfers end."""
    found: dict[str, float] = {}
    while (now := links.next_end()) < math.inf:
        found.update(dict.fromkeys(links.advance(now), now))
    return found


def test_two_transfers_of_different_sizes_share_until_the_small_one_ends() -> None:
    links: FairLinks[str] = FairLinks(3, 10.0)
    links.start(0, 1, 20.0, "small")
    links.start(0, 2, 60.0, "large")
    assert ends(links) == pytest.approx({"small": 4.0, "large": 8.0})


def test_a_transfer_that_starts_later_slows_the_first_down() -> None:
    links: FairLinks[str] = FairLinks(2, 10.0)
    links.start(0, 1, 60.0, "first")
    assert links.advance(3.0) == []
    links.start(0, 1, 20.0, "second")
    assert ends(links) == pytest.approx({"second": 7.0, "first": 8.0})


def test_transfers_of_one_moment_end_in_the_order_of_their_start() -> None:
    links: FairLinks[str] = FairLinks(3, 10.0)
    for name, target in (("b", 1), ("a", 2), ("c", 1)):
        links.start(0, target, 10.0, name)
    assert links.advance(links.next_end()) == ["b", "a", "c"]
    assert links.next_end() == math.inf


def test_a_transfer_of_no_bytes_ends_at_once() -> None:
    links: FairLinks[str] = FairLinks(2, 10.0)
    links.advance(2.0)
    links.start(0, 1, 0.0, "nothing")
    assert ends(links) == {"nothing": 2.0}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(1, 50)).filter(lambda job: job[0] != job[1]), max_size=12))
def test_all_bytes_arrive_no_sooner_than_the_busiest_link_can_carry_them(jobs: list[tuple[int, int, int]]) -> None:
    links: FairLinks[str] = FairLinks(3, 10.0)
    loads: dict[tuple[str, int], int] = {}
    for number, (source, target, nbytes) in enumerate(jobs):
        links.start(source, target, nbytes, str(number))
        for link in (("up", source), ("down", target)):
            loads[link] = loads.get(link, 0) + nbytes
    found = ends(links)
    assert len(found) == len(jobs)
    assert max(found.values(), default=0.0) >= max(loads.values(), default=0) / 10.0 * (1 - 1e-9)
