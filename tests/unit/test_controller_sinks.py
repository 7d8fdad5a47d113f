"""Outputs in sinks: whatever breaks, each is announced once, with the file that was announced in its place, and the job ends after that."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.controller.replay import check
from headrace.ledger import PUBLISHED
from headrace_schemas import Ended, Published
from tests.unit.controller_world import JOB
from tests.unit.sink_world import SinkWorld

worlds = given(seed=st.integers(0, 10**9), n_tasks=st.integers(1, 12), n_hosts=st.integers(1, 3))


def assert_published_once(world: SinkWorld) -> None:
    world.settle()
    assert world.published() == dict.fromkeys(world.spec.sunk, 1)
    assert world.files == world.announced_checksums()
    assert all(world.controller.ledger.jobs[JOB].flag[dataset] & PUBLISHED for dataset in world.spec.sunk)
    ended = next(entry.seq for entry in world.log if isinstance(entry.message, Ended))
    announced = [entry.seq for entry in world.log if isinstance(entry.message, Published) and entry.message.outputs[0:1]]
    assert all(seq < ended for seq in announced if any(o.location for o in world.log[seq - 1].message.outputs))
    assert check(world.log) == []


@worlds
@settings(max_examples=80, deadline=None)
def test_every_output_is_committed_and_announced_once(seed: int, n_tasks: int, n_hosts: int) -> None:
    world = SinkWorld(seed, n_tasks, n_hosts)
    assert world.run() == "done"
    assert_published_once(world)
    assert world.parts == {}, "parts are left"


@worlds
@settings(max_examples=120, deadline=None)
def test_whatever_breaks_it_is_once(seed: int, n_tasks: int, n_hosts: int) -> None:
    world = SinkWorld(seed, n_tasks, n_hosts, fail=0.1, die=0.05, lose=0.02, crash=0.02, shuffle=0.3, refuse=0.2)
    assert world.run() == "done"
    assert_published_once(world)


@worlds
@settings(max_examples=60, deadline=None)
def test_no_reported_part_is_left(seed: int, n_tasks: int, n_hosts: int) -> None:
    world = SinkWorld(seed, n_tasks, n_hosts, fail=0.1, crash=0.02, refuse=0.2)
    assert world.run() == "done"
    assert_published_once(world)
    assert world.parts == {}


def test_an_output_that_can_never_be_committed_fails_the_job_with_the_reason() -> None:
    world = SinkWorld(3, 1, 1)
    world.spec.sunk, world.spec.sink = [0], [0]
    world.commit = lambda written: "there is no such folder here"  # type: ignore[method-assign]
    world.restart_publisher()
    assert world.run() == "failed"
    (ended,) = [entry.message for entry in world.log if isinstance(entry.message, Ended)]
    assert "written 3 times and could not be committed: there is no such folder here" in ended.reason
    assert "must be the same on all hosts" in ended.reason
    assert ended.error is not None
    assert ended.error.reason == "sink_failed"
    world.settle()
    assert world.parts == {}


@worlds
@settings(max_examples=150, deadline=None)
def test_two_outputs_that_lead_to_one_file_fail_the_job_whatever_the_order(seed: int, n_tasks: int, n_hosts: int) -> None:
    world = SinkWorld(seed, n_tasks, n_hosts, fail=0.1, die=0.05, lose=0.02, crash=0.02, shuffle=0.4, refuse=0.2)
    world.lead_to_one_file()
    if len(world.spec.sunk) < 2:
        assert world.run() == "done"
        return
    assert world.run() == "failed"
    (reason,) = {entry.message.reason for entry in world.log if isinstance(entry.message, Ended)}
    assert "lead to one file, out/same.npy" in reason
    assert check(world.log) == []
    world.settle()
    announced = world.announced_checksums()
    assert {location: world.files.get(location) for location in announced} == announced, "an announced product was replaced"


def test_a_write_that_nobody_asked_for_does_not_count() -> None:
    """It would be the newest attempt, and no other would count any more."""
    world = SinkWorld(3, 1, 1)
    world.spec.sunk, world.spec.sink = [0], [0]
    world.restart_publisher()
    host = world.hosts["h0"]
    world.append(world.events(host, written=[world.write(host, 0, 1000)]))
    assert world.run() == "done"
    assert_published_once(world)


def test_a_file_that_can_have_no_place_in_its_sink_is_made_again_and_then_fails_the_job() -> None:
    world = SinkWorld(3, 1, 1)
    world.spec.sunk, world.spec.sink = [0], [0]
    world.restart_publisher()
    write = world.write
    world.write = lambda *where: msgspec.structs.replace(write(*where), encoding="../../x")  # type: ignore[method-assign]
    assert world.run() == "failed"
    (ended,) = [entry.message for entry in world.log if isinstance(entry.message, Ended)]
    assert "written 3 times and could not be committed: the sink 'out' has files of the encoding npy, " in ended.reason
    assert world.files == {}
    assert check(world.log) == []
