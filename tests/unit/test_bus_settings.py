"""The bus reads its settings from variables and files, and shows no secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.bus import BusSettings
from headrace.cli.options import Login
from headrace.errors import SettingsError


def test_secrets_come_from_files(tmp_path: Path) -> None:
    for name in ("token", "password"):
        (tmp_path / name).write_text(f"  {name}-value\n")
    env = {"HEADRACE_TOKEN_FILE": str(tmp_path / "token"), "HEADRACE_PASSWORD_FILE": str(tmp_path / "password")}
    found = BusSettings.from_env(env)
    assert (found.token, found.password) == ("token-value", "password-value")
    assert BusSettings.from_env({**env, "HEADRACE_TOKEN": "other"}).token == "other"
    assert BusSettings.from_env({"HEADRACE_TOKEN_FILE": ""}).token == ""


def test_a_file_that_holds_no_secret_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, why in (
        ("missing", "cannot be read: .*No such file"),
        ("empty", "is empty: write the token into it"),
        ("binary", "cannot be read"),
    ):
        with pytest.raises(SettingsError, match=f"HEADRACE_TOKEN_FILE is .*{name}', which {why}"):
            BusSettings.from_env({"HEADRACE_TOKEN_FILE": str(tmp_path / name)})


def test_secrets_are_not_shown() -> None:
    settings = BusSettings(url="nats://me:sec@ret@hub:4222, tls://you:ret@other", token="ret", password="ret")
    assert settings.shown_url == "nats://***@hub:4222, tls://***@other"
    assert repr(settings) == (
        "BusSettings(url='nats://***@hub:4222, tls://***@other', token='***', password='***', connect_seconds=5.0, "
        "inbox_prefix='_INBOX', replicas=1)"
    )
    assert repr(Login(settings.url, "ret", "me", "ret", "")) == "<Login at 'nats://***@hub:4222, tls://***@other'>"
    assert settings.to_env()["HEADRACE_TOKEN"] == "ret"
