"""Actions on sinks: a job whose file system hangs delays no other job."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from headrace.errors import SinkRefused
from headrace.publisher.commits import Action, Remove
from headrace.publisher.committing import Committer
from headrace.publisher.settings import Settings
from headrace.sinks.files import NotThere
from headrace_schemas import SinkSpec

SETTINGS = Settings(commits=8, commits_of_job=2, slow_seconds=0.05, most_commits=64, commit_tries=3, commit_delay_seconds=0.001)


class Files(Committer):
    """Instead of a file system: parts called "hang" wait for `answer`, and others raise what is said of them."""

    def __init__(self, settings: Settings, errors: dict[str, list[Exception]] | None = None) -> None:
        super().__init__(settings)
        self.answer = threading.Event()
        self.errors = errors or {}
        self.tried: list[str] = []
        self.at_once: dict[str, int] = {}
        self.most = 0
        self.lock = threading.Lock()

    def carry_out(self, action: Action) -> None:
        assert isinstance(action, Remove)
        with self.lock:
            self.tried.append(action.part)
            self.at_once[action.job] = self.at_once.get(action.job, 0) + 1
            self.most = max(self.most, self.at_once[action.job])
        try:
            if action.part == "hang":
                self.answer.wait(60.0)
            if self.errors.get(action.part):
                raise self.errors[action.part].pop(0)
        finally:
            with self.lock:
                self.at_once[action.job] -= 1


def start(files: Files, job: str, part: str, count: int = 1) -> list[str]:
    """Begin some actions; the outcomes of those that are over."""
    over: list[str] = []
    for _ in range(count):
        files.start_action(Remove(job, part, SinkSpec(path="out")), over.append)
    return over


def test_jobs_whose_sinks_hang_delay_no_other(runner: asyncio.Runner, until: Callable[..., Any]) -> None:
    async def scene() -> None:
        files = Files(SETTINGS)
        hung = [start(files, f"hangs-{number}", "hang", 50) for number in range(10)]
        quick = start(files, "quick", "part", 100)
        await until(lambda: len(quick) == 100)
        assert quick == [""] * 100
        assert hung == [[]] * 10
        assert files.tried.count("hang") <= 10 * SETTINGS.commits_of_job
        files.answer.set()
        await until(lambda: all(len(over) == 50 for over in hung))
        assert files.most <= SETTINGS.commits_of_job
        files.close()

    runner.run(scene())


def test_jobs_have_their_turns(runner: asyncio.Runner, until: Callable[..., Any]) -> None:
    async def scene() -> None:
        files = Files(Settings(commits=1, commits_of_job=1))
        first, second = start(files, "first", "a", 50), start(files, "second", "b", 3)
        await until(lambda: len(first) == 50 and len(second) == 3)
        assert sorted(files.tried[:6]) == ["a"] * 3 + ["b"] * 3
        files.close()

    runner.run(scene())


@pytest.mark.parametrize(
    ("errors", "outcome", "tries"),
    [
        ([OSError("busy")], "", 2),
        ([OSError("busy")] * 3, "OSError: busy", 3),
        ([NotThere("it is gone")], "it is gone", 1),
        ([SinkRefused("not there")], "not there", 1),
    ],
)
def test_what_a_file_system_refuses_is_tried_again_and_what_is_not_there_is_not(
    runner: asyncio.Runner, until: Callable[..., Any], errors: list[Exception], outcome: str, tries: int
) -> None:
    async def scene() -> None:
        files = Files(SETTINGS, {"part": list(errors)})
        over = start(files, "j", "part")
        await until(lambda: over)
        assert (over, len(files.tried)) == ([outcome], tries)
        files.close()

    runner.run(scene())


def test_what_has_not_begun_when_it_is_closed_is_left(runner: asyncio.Runner, until: Callable[..., Any]) -> None:
    async def scene() -> None:
        files = Files(SETTINGS)
        over = start(files, "j", "hang", 10)
        await until(lambda: len(files.tried) == 2)
        files.close()
        files.answer.set()
        await asyncio.sleep(0)
        assert over == []
        assert len(files.tried) == 2

    runner.run(scene())
