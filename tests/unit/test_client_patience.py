"""A client waits for a limited time for outputs that are unavailable."""

from __future__ import annotations

from headrace.client.patience import Patience


def test_it_ends_when_nothing_has_come_for_its_time() -> None:
    patience = Patience(10.0)
    for now in (100.0, 105.0, 110.0):
        patience.looked(now, hopeful=False)
        assert not patience.is_over
    patience.looked(110.1, hopeful=False)
    assert patience.is_over


def test_it_begins_anew_with_everything_that_comes() -> None:
    patience = Patience(10.0)
    patience.looked(100.0, hopeful=False)
    patience.looked(109.0, hopeful=True)
    patience.looked(118.0, hopeful=False)
    assert not patience.is_over
