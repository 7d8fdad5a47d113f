"""What the numerical libraries of runners are told: their share of the cores, unless the user says otherwise."""

from __future__ import annotations

import pytest

from headrace.errors import SettingsError
from headrace.worker import threads
from headrace.worker.threads import GENERAL, VARIABLES, ThreadSettings, set_variables, share

SETTING = ThreadSettings.VARIABLES["runner_threads"]


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "available_cores", lambda: 8.0)


@pytest.mark.parametrize(("cores", "runners", "expected"), [(8, 1, 8), (8, 3, 2), (8, 8, 1), (8, 64, 1), (2.5, 1, 2), (0.5, 1, 1)])
def test_a_runner_gets_its_share_and_never_less_than_one(cores: float, runners: int, expected: int) -> None:
    assert share(cores, runners) == expected


def test_every_variable_is_the_share_by_default() -> None:
    env: dict[str, str] = {}
    set_variables(2, env)
    assert env == dict.fromkeys(VARIABLES, "4")


def test_what_the_user_set_stays() -> None:
    env = {"MKL_NUM_THREADS": "7", "OPENBLAS_NUM_THREADS": ""}
    set_variables(2, env)
    assert env == dict.fromkeys(VARIABLES, "4") | {"MKL_NUM_THREADS": "7"}


def test_the_general_variable_goes_for_all_that_are_not_set() -> None:
    env = {GENERAL: "6", "NUMEXPR_NUM_THREADS": "3"}
    set_variables(2, env)
    assert env == dict.fromkeys(VARIABLES, "6") | {"NUMEXPR_NUM_THREADS": "3"}


def test_the_setting_goes_before_everything() -> None:
    env = {SETTING: "5", GENERAL: "6", "MKL_NUM_THREADS": "7"}
    set_variables(2, env)
    assert env == dict.fromkeys(VARIABLES, "5") | {SETTING: "5"}


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "²"])
def test_a_setting_that_is_no_number_of_threads_is_refused_by_its_name(value: str) -> None:
    with pytest.raises(SettingsError, match=SETTING):
        set_variables(2, {SETTING: value})


def test_settings_made_twice_stay() -> None:
    env: dict[str, str] = {}
    set_variables(4, env)
    set_variables(1, env)
    assert env == dict.fromkeys(VARIABLES, "2")
