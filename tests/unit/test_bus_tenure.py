"""A holder's knowledge of its lease, as time passes and answers arrive or not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus.tenure import Found, Loss, Moment, Tenure


def tenure(*, lapses: bool = True, ttl: float = 6.0, revision: int = 10) -> Tenure:
    return Tenure(ttl, revision, Moment(100.0, 1000.0), lapses=lapses)


def after(seconds: float, wall: float | None = None) -> Moment:
    """So many seconds after the acquisition; by the wall clock, so many."""
    return Moment(100.0 + seconds, 1000.0 + (seconds if wall is None else wall))


def test_it_is_due_after_a_third_and_held_for_the_whole_time_to_live() -> None:
    held = tenure()
    assert held.seconds_to_renewal(after(0)) == pytest.approx(2)
    assert held.seconds_left(after(1)) == pytest.approx(5)
    assert held.is_held(after(5.9))
    assert not held.is_held(after(6))
    assert held.loss is Loss.LAPSED


def test_a_renewal_counts_from_when_it_was_sent() -> None:
    held = tenure()
    held.renewed(11, after(2))
    assert held.revision == 11
    assert held.seconds_left(after(5)) == pytest.approx(3)
    assert held.is_held(after(7.9))


def test_a_suspended_machine_is_noticed_by_whichever_clock_went_on() -> None:
    assert not tenure().is_held(after(0.1, wall=3600))
    assert not tenure().is_held(Moment(100.0 + 3600, 1000.1))


def test_a_wall_clock_that_is_set_back_prolongs_nothing() -> None:
    held = tenure()
    assert held.is_held(after(5, wall=-7200))
    assert not held.is_held(after(6, wall=-7200))


def test_once_it_has_lapsed_a_late_renewal_does_not_bring_it_back() -> None:
    held = tenure()
    assert not held.is_held(after(6))
    held.renewed(11, after(5.9))
    assert not held.is_held(after(6.1))
    assert held.may_be_ours


def test_who_may_go_on_goes_on_until_the_server_says_that_it_is_gone() -> None:
    held = tenure(lapses=False)
    assert held.is_held(after(3600))
    held.renewed(11, after(3590))
    assert held.is_held(after(7200))
    held.refused(Found.NOTHING, 0)
    assert not held.is_held(after(7201))
    assert held.loss is Loss.EXPIRED


@pytest.mark.parametrize(("found", "loss"), [(Found.NOTHING, Loss.EXPIRED), (Found.ANOTHERS, Loss.TAKEN), (Found.OURS, None)])
def test_a_refusal_is_judged_by_what_stands_under_the_key(found: Found, loss: Loss | None) -> None:
    held = tenure()
    held.refused(found, 12)
    assert held.loss is loss
    assert held.revision == (12 if found is Found.OURS else 10)
    assert held.may_be_ours == (loss is None)


def test_the_first_loss_counts() -> None:
    held = tenure()
    held.refused(Found.ANOTHERS, 0)
    held.end(Loss.HUNG)
    held.refused(Found.NOTHING, 0)
    held.renewed(13, after(1))
    assert (held.loss, held.revision) == (Loss.TAKEN, 10)


STEPS = st.lists(
    st.tuples(st.floats(0, 3), st.sampled_from(["renew", "late", "ours", "nothing", "anothers", "look"])),
    max_size=30,
)


@given(STEPS, st.booleans())
def test_a_lease_that_is_lost_stays_lost_and_is_never_held_beyond_what_was_stored(steps: list[tuple[float, str]], lapses: bool) -> None:
    held, now, stored, lost = tenure(lapses=lapses), 0.0, 0.0, False
    for pause, what in steps:
        sent, now = now, now + pause
        if what in ("renew", "late"):
            if held.loss is None:
                stored = sent if what == "late" else now
            held.renewed(20, after(sent if what == "late" else now))
        elif what in ("ours", "nothing", "anothers"):
            held.refused(Found[what.upper()], 21)
        is_held = held.is_held(after(now))
        assert not (lost and is_held)
        assert not (lapses and is_held and now - stored >= 6.0)
        lost = lost or not is_held
