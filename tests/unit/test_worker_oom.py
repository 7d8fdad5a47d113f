"""A runner that the kernel killed for memory is told from others, and what is reported of its task."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.worker.agent.events import RunnerDied, RunnerStarted
from headrace.worker.agent.failures import MemoryShortage
from headrace.worker.agent.oom import KillCount, OomKills
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings
from headrace_schemas import Assign
from headrace_shm import Store
from tests.unit.worker_world import EPOCH, graph_of


class Counter:
    count: int | None = 3

    def __call__(self) -> int | None:
        return self.count


def test_a_kill_that_this_host_did_not_send_just_after_the_count_rose_is_the_kernels() -> None:
    counter = Counter()
    kills = OomKills(counter, 3.0)
    assert not kills.explains(-9, killed=False, now=1.0), "the count has not risen"
    counter.count = 4
    assert not kills.explains(-9, killed=True, now=2.0)
    assert not kills.explains(-11, killed=False, now=2.0)
    assert kills.explains(-9, killed=False, now=2.0)
    assert not kills.explains(-9, killed=False, now=2.1 + 3.0), "that was another process"


def test_without_a_count_no_death_is_the_kernels() -> None:
    counter = Counter()
    counter.count = None
    kills = OomKills(counter, 3.0)
    assert not kills.explains(-9, killed=False, now=1.0)
    counter.count = 7
    assert not kills.explains(-9, killed=False, now=2.0), "what it was before is not known"


@pytest.mark.parametrize(
    ("groups", "files", "count"),
    [
        ("0::/a/b", {"a/b/memory.events": "low 0\noom 5\noom_kill 4\noom_group_kill 0\n"}, 4),
        ("0::/../x", {"memory.events": "oom_kill 2\n"}, 2),
        ("4:memory:/p\n0::/", {"memory/p/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"}, 3),
        ("1:cpu:/p", {"vmstat": "nr_free 1\noom_kill 9\n"}, 9),
        ("", {}, None),
    ],
)
def test_the_count_of_the_own_group_comes_before_that_of_the_machine(
    tmp_path: Path, groups: str, files: dict[str, str], count: int | None
) -> None:
    (tmp_path / "groups").write_text(groups)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    read = KillCount(tmp_path / "groups", tmp_path, tmp_path / "vmstat")
    assert read() == count
    assert read() == count


def test_the_count_is_that_of_the_group_that_the_process_is_in_now(tmp_path: Path) -> None:
    for group, count in (("a", 1), ("b", 2)):
        (tmp_path / group).mkdir()
        (tmp_path / group / "memory.events").write_text(f"oom_kill {count}\n")
    read = KillCount(tmp_path / "groups", tmp_path, tmp_path / "vmstat")
    assert read() is None
    (tmp_path / "groups").write_text("0::/a\n")
    assert read() == 1
    (tmp_path / "groups").write_text("0::/b\n")
    assert read() == 2
    (tmp_path / "b/memory.events").write_text("oom_kill 3\n")
    assert read() == 3


def test_the_report_of_its_task_has_the_numbers() -> None:
    agent = Agent(Settings(host="h0"), EPOCH, Store(1 << 20, 1 << 23))
    agent.handle(RunnerStarted(0))
    agent.assignments.assign(
        Assign(
            at=1, term=1, job="job", host="h0", epoch=EPOCH, hosts=["h0"], addresses=["h0:1"], chains=[0], lengths=[1], tasks=[0],
        ),
        graph_of([[]], [0]),
    )  # fmt: skip
    agent.take()
    agent.handle(RunnerDied(0, (1, 0), -9, 123, MemoryShortage(peak=900 << 20, limit=1 << 30)))
    [error] = [error for report in agent.reports_due() for error in report.events.failed]  # type: ignore[union-attr]
    assert (error.reason, error.memory, error.limit) == ("out_of_memory", 900 << 20, 1 << 30)
    assert error.error == (
        "the kernel killed the runner (process 123) because memory ran out while it executed this task. The runner took up to 900 MiB of "
        "the 1,024 MiB that host h0 has, besides 0.0 MiB in the host's store"
    )
