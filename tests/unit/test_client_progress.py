"""The progress bar: when it is shown, and its contents."""

from __future__ import annotations

import io
import sys

import pytest

from headrace.client import progress
from headrace.client.progress import Bar, TaskCounts


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_a_terminal_gets_a_bar_unless_it_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not progress.is_wanted(None)
    assert progress.is_wanted(True)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert progress.is_wanted(None)
    assert not progress.is_wanted(False)


def test_a_program_without_standard_error_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert not progress.is_wanted(None)


def test_the_bar_counts_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Bar("uk-march", lambda: TaskCounts(done=3, running=2, total=8)) as bar:
        bar.update()
    assert "uk-march" in terminal.getvalue()
    assert "3/8" in terminal.getvalue()
    assert "2 running" in terminal.getvalue()


def test_a_short_wait_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bar("quick", lambda: TaskCounts(0, 0, 1)) as bar:
        assert 0.5 < bar.step() <= 1.0
    assert terminal.getvalue() == ""
