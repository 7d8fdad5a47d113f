"""Tasks under which hosts were lost again and again, or ran out of memory: where they are placed, and what is kept away from them."""

from __future__ import annotations

from headrace_schemas import Assign, Decision, Events, HostJoined, HostLost, Needed, TaskError
from tests.scheduler_graphs import flat
from tests.unit.test_scheduler_state import JOB, Driver


def joined(name: str, epoch: int = 1, memory: int = 0) -> HostJoined:
    return HostJoined(at=0, term=1, host=name, epoch=epoch, address=f"{name}:1", runners=1, capacity=1, memory=memory)


def driver_of(**memory: int) -> Driver:
    driver = Driver(hosts=0)
    for name, nbytes in memory.items():
        driver.tell(joined(name, memory=nbytes))
    return driver


def assigned(decided: list[Decision]) -> list[tuple[str, list[int], bool]]:
    return [(each.host, each.tasks, each.alone) for each in decided if isinstance(each, Assign)]


def lose_under(driver: Driver, task: int, attempt: int, host: str, epoch: int) -> list[tuple[str, list[int], bool]]:
    """The host is lost while it executes the task, and is back at once; the task is needed again."""
    driver.tell(Events(job=JOB, host=host, epoch=epoch, started=[task]))
    driver.tell(HostLost(at=1, term=1, host=host, epoch=epoch, reason="its lease ran out"))
    driver.tell(joined(host, epoch + 1))
    return assigned(driver.tell(Needed(at=1, term=1, job=JOB, tasks=[task], attempts=[attempt + 1])))


def test_a_task_under_which_two_hosts_were_lost_runs_alone() -> None:
    driver = driver_of(a=0)
    assert assigned(driver.admit(flat(1))) == [("a", [0], False)]
    assert lose_under(driver, 0, 0, "a", 1) == [("a", [0], False)]
    assert lose_under(driver, 0, 1, "a", 2) == [("a", [0], True)]


def test_work_of_others_is_placed_elsewhere_until_it_has_ended() -> None:
    driver = driver_of(a=0, b=0)
    [(host, _, _)] = assigned(driver.admit(flat(1)))
    for attempt in range(2):
        [(host, _, alone)] = lose_under(driver, 0, attempt, host, 1 + attempt)
    assert alone
    [other] = {"a", "b"} - {host}
    for job in ("x", "y", "z"):
        assert {name for name, _, _ in assigned(driver.admit(flat(2), job))} == {other}
    record = driver.scheduler.ledger.hosts[host]
    driver.tell(Events(job=JOB, host=host, epoch=record.epoch, done=[0], done_attempts=[2], produced=[0], produced_attempts=[2]))
    assert host in {name for name, _, _ in assigned(driver.admit(flat(4), "w"))}


def out_of_memory(driver: Driver, attempt: int, host: str, limit: int) -> list[tuple[str, list[int], bool]]:
    error = TaskError(task=0, attempt=attempt, reason="out_of_memory", error="E", memory=limit, limit=limit)
    driver.tell(Events(job=JOB, host=host, epoch=1, failed=[error]))
    return assigned(driver.tell(Needed(at=1, term=1, job=JOB, tasks=[0], attempts=[attempt + 1])))


def test_a_task_that_was_out_of_memory_runs_alone_and_then_on_a_host_with_more() -> None:
    driver = driver_of(a=100, b=200, c=50)
    driver.scheduler.load.update(b=5, c=5)
    assert assigned(driver.admit(flat(1))) == [("a", [0], False)]
    assert out_of_memory(driver, 0, "a", 100) == [("a", [0], True)]
    assert out_of_memory(driver, 1, "a", 100) == [("b", [0], True)]
