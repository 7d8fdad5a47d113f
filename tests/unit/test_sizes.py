"""Sizes as people write them, and settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.bus import BusSettings
from headrace.controller.settings import Settings as ControllerSettings
from headrace.errors import SettingsError
from headrace.scheduler.settings import Settings as SchedulerSettings
from headrace.sizes import parse_capacity, parse_duration, parse_size
from headrace.variables import shm_folder
from headrace.worker.settings import Settings
from headrace_shm.backing import default_folder


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
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("10", 10.0), ("1.5s", 1.5), ("250 ms", 0.25), ("2m", 120.0), ("2min", 120.0), ("24H", 86_400.0), (" 7d ", 604_800.0)],
)
def test_durations_have_suffixes(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1", "1e3", "2w", "1:30", "inf"])
def test_what_is_no_duration_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_a_controller_reads_when_outputs_expire() -> None:
    assert ControllerSettings.from_env({}).output_expiry_seconds == 86_400.0
    assert ControllerSettings.from_env({"HEADRACE_OUTPUT_EXPIRY": "", "HEADRACE_HOST_GRACE": ""}) == ControllerSettings()
    assert ControllerSettings.from_env({"HEADRACE_OUTPUT_EXPIRY": "90m"}).output_expiry_seconds == 5_400.0
    with pytest.raises(SettingsError, match="HEADRACE_OUTPUT_EXPIRY: 'soon' is not a duration"):
        ControllerSettings.from_env({"HEADRACE_OUTPUT_EXPIRY": "soon"})


def test_a_store_has_a_least_size() -> None:
    assert (parse_capacity("1Mi"), parse_capacity("0")) == (1 << 20, 0)
    with pytest.raises(ValueError, match="too small for a store"):
        parse_capacity("500K")


def test_shared_memory_is_where_it_is_wanted_or_where_the_library_would_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shm_folder(str(tmp_path)) == tmp_path
    assert shm_folder() == default_folder()
    for module in ("headrace.variables", "headrace_shm.backing"):
        monkeypatch.setattr(f"{module}.SHARED_MEMORY", tmp_path / "nowhere")
    assert shm_folder() == default_folder() != tmp_path / "nowhere"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"host": "a.b"}, r"a host cannot be called 'a\.b'"),
        ({"listen": "somewhere"}, r"HEADRACE_LISTEN \(--listen\): 'somewhere' is not an address with a port"),
        ({"listen": "127.0.0.1:70000"}, "HEADRACE_LISTEN"),
        ({"advertise": "here:abc"}, "HEADRACE_ADVERTISE"),
        ({"spill_dir": "/nowhere"}, r"HEADRACE_SPILL_DIR \(--spill-dir\) is '/nowhere'"),
    ],
)
def test_what_a_worker_cannot_use_is_told_before_it_starts(given: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(**{"host": "alpha", **given}).check()


@pytest.mark.parametrize("address", ["", "10.0.0.1", "10.0.0.1:7000", "node7.example", "::1", "[::1]:7000"])
def test_what_a_worker_can_advertise(address: str, tmp_path: Path) -> None:
    Settings(host="alpha", advertise=address, spill_dir=str(tmp_path)).check()


def test_variables_that_do_not_fit_are_named_and_empty_ones_are_not_set() -> None:
    assert BusSettings.from_env({"HEADRACE_URL": "", "HEADRACE_REPLICAS": "3"}) == BusSettings(replicas=3)
    with pytest.raises(SettingsError, match="HEADRACE_CONNECT_TIMEOUT: 'soon' is not a duration"):
        BusSettings.from_env({"HEADRACE_CONNECT_TIMEOUT": "soon"})
    with pytest.raises(SettingsError, match="HEADRACE_CONNECT_TIMEOUT is '0': expected `float` > 0"):
        BusSettings.from_env({"HEADRACE_CONNECT_TIMEOUT": "0"})
    with pytest.raises(SettingsError, match="HEADRACE_WINDOW_TASKS is '0'"):
        SchedulerSettings.from_env({"HEADRACE_WINDOW_TASKS": "0"})
