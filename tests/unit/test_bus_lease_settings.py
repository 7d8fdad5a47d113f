"""Leases last as long as the settings say, and longer while a process is about to block its threads."""

from __future__ import annotations

import pytest

from headrace.bus.settings import LEADER_LEASE_SECONDS
from headrace.bus.tenure import Moment, Tenure
from headrace.controller.settings import Settings as Controller
from headrace.errors import SettingsError
from headrace.scheduler.settings import Settings as Scheduler


@pytest.mark.parametrize("settings", [Controller, Scheduler])
def test_leaders_leases_are_a_setting(settings: type[Controller] | type[Scheduler]) -> None:
    assert settings.from_env({}).lease_seconds == LEADER_LEASE_SECONDS
    assert settings.from_env({"HEADRACE_LEADER_LEASE": "5s"}).lease_seconds == 5.0
    with pytest.raises(SettingsError, match=r"HEADRACE_LEADER_LEASE is 0\.5 s: give at least 1 s"):
        settings.from_env({"HEADRACE_LEADER_LEASE": "0.5s"})
    with pytest.raises(SettingsError, match="HEADRACE_LEADER_LEASE"):
        settings.from_env({"HEADRACE_LEADER_LEASE": "soon"})


def test_a_lease_that_was_renewed_for_longer_is_held_for_longer_and_renewed_as_often() -> None:
    tenure = Tenure(2.0, 1, Moment(0.0, 0.0), lapses=True)
    tenure.renewed(2, Moment(1.0, 1.0), 10.0)
    assert tenure.seconds_to_renewal(Moment(1.0, 1.0)) == pytest.approx(2 / 3)
    assert tenure.seconds_left(Moment(4.0, 4.0)) == 7.0
    assert tenure.is_held(Moment(10.9, 10.9))
    tenure.renewed(3, Moment(10.9, 10.9))
    assert tenure.sure_until == Moment(12.9, 12.9)
    assert not tenure.is_held(Moment(12.9, 12.9))
