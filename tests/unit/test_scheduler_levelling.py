"""Hosts that are idle get part of what waits on hosts that would finish last, by what the functions took so far."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.scheduler.levelling import excess
from headrace_schemas import Events, FunctionProfile, HostJoined
from tests.scheduler_graphs import flat, make_spec
from tests.scheduler_world import JOB
from tests.unit.test_scheduler_relief import Driver, asked, placed


def profile(seconds: float, count: int = 1, function: int = 0) -> list[FunctionProfile]:
    return [FunctionProfile(function=function, count=count, total=seconds * count, longest=seconds)]


def finish(host: str, chains: list[int], seconds: float, job: str = JOB) -> Events:
    return Events(job=job, host=host, epoch=1, chains=chains, profile=profile(seconds, len(chains)))


def slow_and_fast() -> tuple[Driver, list]:
    """200 tasks on two hosts; b has done its 100 when a, which is four times slower, has done 25. Returns what is decided then."""
    driver = Driver()
    found = placed(driver.admit(flat(200)))
    assert (len(found["a"]), len(found["b"])) == (100, 100)
    driver.tell(finish("a", found["a"][:25], 0.2))
    driver.tell(finish("b", found["b"], 0.05))
    return driver, driver.after(0.1)


def test_an_idle_host_gets_what_it_finishes_at_the_same_time() -> None:
    _, decided = slow_and_fast()
    assert asked(decided) == {"a": list(range(40, 100))}, "60 tasks of 0.05 s there, 15 of 0.2 s here"


def test_what_is_given_back_goes_to_the_idle_host() -> None:
    driver, decided = slow_and_fast()
    decided = driver.tell(Events(job=JOB, host="a", epoch=1, revoked=asked(decided)["a"]))
    assert placed(decided) == {"b": list(range(40, 100))}
    assert driver.after(0.1) == []


def test_nothing_more_is_asked_for_before_the_answer() -> None:
    driver, _ = slow_and_fast()
    assert driver.after(0.1) == []


def test_the_next_job_is_shared_by_the_speeds_of_the_hosts() -> None:
    driver, decided = slow_and_fast()
    driver.tell(Events(job=JOB, host="a", epoch=1, revoked=asked(decided)["a"]))
    found = placed(driver.tell(finish("a", list(range(25, 40)), 0.2), finish("b", list(range(200, 260)), 0.05)))
    found = placed(driver.admit(flat(200), "next"))
    assert (len(found["a"]), len(found["b"])) == (40, 160)


def test_a_host_that_starts_anew_is_as_fast_as_any() -> None:
    driver, decided = slow_and_fast()
    driver.tell(Events(job=JOB, host="a", epoch=1, revoked=asked(decided)["a"]))
    driver.tell(finish("a", list(range(25, 40)), 0.2), finish("b", list(range(200, 260)), 0.05))
    driver.tell(HostJoined(at=0, term=1, host="a", epoch=2, address="a:1", runners=1, capacity=1))
    found = placed(driver.admit(flat(200), "next"))
    assert (len(found["a"]), len(found["b"])) == (100, 100)


def test_nothing_moves_for_less_than_it_takes() -> None:
    driver = Driver()
    found = placed(driver.admit(flat(200)))
    driver.tell(finish("a", found["a"][:25], 0.0004))
    driver.tell(finish("b", found["b"], 0.0001))
    assert driver.after(0.1) == []


def test_nothing_moves_of_a_function_that_never_ran() -> None:
    driver = Driver()
    found = placed(driver.admit(flat(20)))
    driver.tell(Events(job=JOB, host="b", epoch=1, chains=found["b"]))
    assert driver.after(0.1) == []


def test_nothing_moves_whose_inputs_take_longer_to_send_than_it_waits() -> None:
    """Tasks 0 to 9 make a large array each on a, and tasks 10 to 19 read one each."""
    spec = make_spec([[] for _ in range(10)] + [[k] for k in range(10)])
    driver = Driver(hosts="a", chain_tasks=1)
    driver.admit(spec)
    made = list(range(10))
    driver.tell(
        Events(job=JOB, host="a", epoch=1, done=made, produced=made, sizes=[10**9] * 10, profile=profile(0.1, 10)),
        HostJoined(at=0, term=1, host="b", epoch=1, address="b:1", runners=1, capacity=1),
    )
    driver.tell(Events(job=JOB, host="a", epoch=1, started=[10], profile=profile(0.1)))
    assert driver.after(0.1) == []


def test_what_was_not_released_moves_at_once() -> None:
    driver = Driver(window_tasks=8, window_tasks_per_runner=1)
    found = placed(driver.admit(flat(200)))
    for _ in range(40):
        decided = driver.tell(finish("b", found.get("b", []), 0.05))
        found = placed(decided)
        if "b" not in found:
            break
    driver.tell(finish("a", [0], 0.05))
    decided = driver.after(0.1)
    assert placed(decided)["b"] == list(range(51, 100)), "from the end of its backlog, half of what is left"
    assert driver.scheduler.load["a"] == pytest.approx(driver.scheduler.load["b"], abs=8)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.floats(0.01, 100), st.floats(0.1, 8)), min_size=1),
    st.floats(0.1, 20),
)
def test_afterwards_all_would_finish_together(hosts: dict[str, tuple[float, float]], spare: float) -> None:
    waiting, rates = {host: work for host, (work, _) in hosts.items()}, {host: rate for host, (_, rate) in hosts.items()}
    found = excess(waiting, rates, spare)
    level = sum(found.values()) / spare
    for host, work in waiting.items():
        assert 0 <= found.get(host, 0) <= work
        finish = (work - found.get(host, 0)) / rates[host]
        assert finish == pytest.approx(level) if host in found else finish <= level * (1 + 1e-9)
