"""Sizes as people write them."""

from __future__ import annotations

import pytest

from headrace.controller.settings import Settings as ControllerSettings
from headrace.errors import SettingsError
from headrace.sizes import parse_capacity, parse_duration, parse_size
from headrace.worker.settings import Settings


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("65536", 65536),
        ("3K", 3000),
        ("3Ki", 3072),
        ("1.5 GiB", 3 << 29),
        ("4g", 4 * 10**9),
        (" 2MB ", 2 * 10**6),
        ("1T", 10**12),
    ],
)
def test_sizes_have_suffixes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1e9", "4X", "4 G i", "1_000", "\u0664"])
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("10", 10.0), ("1.5s", 1.5), ("250 ms", 0.25), ("2m", 120.0), ("2min", 120.0), ("24H", 86_400.0), (" 7d ", 604_800.0)],
)
def test_durations_have_suffixes(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1", "1e3", "2w", "1:30", "inf"])
def test_what_is_no_duration_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


def test_a_controller_reads_when_outputs_expire() -> None:
    assert ControllerSettings.from_env({}).output_expiry == 86_400.0
    assert ControllerSettings.from_env({"HEADRACE_OUTPUT_EXPIRY": "90m"}).output_expiry == 5_400.0
    with pytest.raises(SettingsError, match="HEADRACE_OUTPUT_EXPIRY: 'soon' is no duration"):
        ControllerSettings.from_env({"HEADRACE_OUTPUT_EXPIRY": "soon"})


def test_a_store_has_a_least_size() -> None:
    assert (parse_capacity("1Mi"), parse_capacity("0")) == (1 << 20, 0)
    with pytest.raises(ValueError, match="too small for a store"):
        parse_capacity("500K")


def test_a_worker_reads_its_capacity_with_a_suffix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_CAPACITY", "2Gi")
    assert Settings.from_env().capacity == 2 << 30
    monkeypatch.setenv("HEADRACE_CAPACITY", "2 barrels")
    with pytest.raises(SettingsError, match="HEADRACE_CAPACITY: '2 barrels' is no size"):
        Settings.from_env()
    monkeypatch.delenv("HEADRACE_CAPACITY")
    monkeypatch.setenv("HEADRACE_RUNNERS", "3")
    assert (Settings.from_env().capacity, Settings.from_env().runners) == (0, 3)
