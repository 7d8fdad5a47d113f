"""The controller in a world where messages come late, twice and in any order, tasks fail, runners and hosts die."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headrace.bus import Entry
from headrace.controller import purges, recovery, uses
from headrace.controller.replay import check
from headrace.ledger import Ledger, facts, orders
from headrace_schemas import Assign, Ended, Events, LogMessage, Purge
from tests.unit.controller_world import JOB, World

worlds = given(seed=st.integers(0, 10**9), n_tasks=st.integers(1, 14), n_hosts=st.integers(1, 3))
quick = settings(max_examples=60, deadline=None)


@worlds
@quick
def test_every_job_ends_and_all_that_can_be_dropped_is(seed: int, n_tasks: int, n_hosts: int) -> None:
    world = World(seed, n_tasks, n_hosts)
    assert world.run() == "done"
    world.release()
    job = world.controller.ledger.jobs[JOB]
    outputs = job.outputs()
    assert not any(job.copies.hosts(dataset) for dataset in outputs), "released outputs are still held"
    assert check(world.log) == []


@worlds
@quick
def test_jobs_end_whatever_order_messages_come_in(seed: int, n_tasks: int, n_hosts: int) -> None:
    world = World(seed, n_tasks, n_hosts, shuffle=0.4)
    assert world.run() == "done"
    assert check(world.log) == []


@worlds
@settings(max_examples=120, deadline=None)
def test_jobs_with_retries_left_end_whatever_breaks(seed: int, n_tasks: int, n_hosts: int) -> None:
    world = World(seed, n_tasks, n_hosts, fail=0.1, die=0.05, lose=0.02, crash=0.02, shuffle=0.3)
    assert world.run() == "done"
    world.release()
    assert check(world.log) == []


@worlds
@example(seed=84433, n_tasks=1, n_hosts=1)  # outputs were lost after the end, and released before they were needed again
@settings(max_examples=120, deadline=None)
def test_jobs_end_though_hosts_lose_their_leases_and_go_on_for_a_while(seed: int, n_tasks: int, n_hosts: int) -> None:
    world = World(seed, n_tasks, n_hosts, fail=0.05, lapse=0.05, lose=0.01, crash=0.02, shuffle=0.3)
    assert world.run() == "done"
    world.release()
    assert check(world.log) == []


@pytest.fixture(params=[0, 4], ids=["numpy", "mixed"])
def short_batches(request: pytest.FixtureRequest) -> Iterator[None]:
    """Has batches of more than so few entries go the way of long ones, which small worlds would not."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (facts, orders, uses, purges, recovery):
            patch.setattr(module, "FEW", request.param)
        yield


@pytest.mark.usefixtures("short_batches")
@worlds
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_long_batches_are_handled_as_short_ones_are(seed: int, n_tasks: int, n_hosts: int) -> None:
    world = World(seed, n_tasks, n_hosts, fail=0.1, die=0.05, lose=0.02, crash=0.02, shuffle=0.3)
    assert world.run() == "done"
    world.release()
    assert check(world.log) == []


@worlds
@quick
def test_nothing_is_purged_twice_unless_it_was_kept_or_made_again(seed: int, n_tasks: int, n_hosts: int) -> None:
    world = World(seed, n_tasks, n_hosts, shuffle=0.3)
    world.run()
    world.release()
    topology = world.ledger_job().topology
    purged: Counter[tuple[str, int]] = Counter()
    seen: list[LogMessage] = []
    attempts: set[tuple[int, int]] = set()
    for entry in sorted(world.log, key=when):
        message = entry.message
        if isinstance(message, Events):
            newer = [made for made in zip(message.produced, message.produced_attempts, strict=True) if made not in attempts]
            attempts.update(newer)
            again = message.kept + [dataset for dataset, attempt in newer if attempt]
        elif isinstance(message, Assign) and message.attempts:
            again = [d for task in message.tasks for d in (*topology.inputs_of(task).tolist(), *topology.outputs_of(task))]
        elif isinstance(message, Purge) and not any(message is other for other in seen):
            seen.append(message)
            purged.update((message.host, dataset) for dataset in message.datasets)
            continue
        else:
            continue
        for dataset in again:
            purged[message.host, dataset] = 0
    assert max(purged.values(), default=0) <= 1


def when(entry: Entry) -> float:
    """Purges count from when they were decided."""
    return entry.message.at + 0.5 if isinstance(entry.message, Purge) else entry.seq


@worlds
@quick
def test_every_message_twice_gives_the_same_ledger(seed: int, n_tasks: int, n_hosts: int) -> None:
    world = World(seed, n_tasks, n_hosts, fail=0.1, lose=0.02, shuffle=0.2)
    world.run()
    once, twice = Ledger(), Ledger()
    for entry in world.log:
        once.fold(entry)
        twice.fold(entry._replace(seq=2 * entry.seq))
        twice.fold(entry._replace(seq=2 * entry.seq + 1))
    assert snapshot(once) == snapshot(twice)


def snapshot(ledger: Ledger) -> object:
    job = ledger.jobs[JOB]
    columns = [c.tolist() for c in (job.state, job.attempt, job.host, job.chain, job.copies.home, job.flags, job.size, job.made)]
    copies = [job.copies.hosts(dataset) for dataset in range(job.topology.n_datasets)]
    return columns, copies, job.status(), job.kept, job.failures, ledger.hosts, ledger.terms


def test_what_was_made_again_between_a_purge_and_its_arrival_is_made_once_more() -> None:
    world = World(849, 8, 2, fail=0.1, lose=0.02)
    assert world.run() == "done"


@worlds
@quick
def test_a_ledger_does_not_depend_on_how_its_reader_was_interrupted(seed: int, n_tasks: int, n_hosts: int) -> None:
    world = World(seed, n_tasks, n_hosts, fail=0.1, lose=0.02)
    world.run()
    straight, again = Ledger(), Ledger()
    for entry in world.log:
        straight.fold(entry)
    for start in range(0, len(world.log), 7):
        for entry in world.log[max(0, start - 5) : start + 7]:
            again.fold(entry)
    assert snapshot(straight) == snapshot(again)


# --- a log that was tampered with ------------------------------------------------------------------------------------


def finished_log() -> list[Entry]:
    """Of a job with purges on two hosts, none of them in the last batch of decisions."""
    for seed in range(200):
        world = World(seed, 10, 2)
        world.run()
        world.release()
        if len(purge_places(world.log)) > 3:
            assert check(world.log) == []
            return world.log
    raise AssertionError("no such log")


def purge_places(log: list[Entry]) -> list[int]:
    return [place for place, entry in enumerate(log) if isinstance(entry.message, Purge)]


def with_message(log: list[Entry], place: int, **changes: object) -> list[Entry]:
    message = msgspec.structs.replace(log[place].message, **changes)
    return [*log[:place], log[place]._replace(message=message), *log[place + 1 :]]


def test_a_purge_that_lacks_a_dataset_is_found() -> None:
    log = finished_log()
    place = purge_places(log)[0]
    assert check(with_message(log, place, datasets=log[place].message.datasets[1:]))


def test_a_purge_with_one_dataset_more_is_found() -> None:
    log = finished_log()
    for place in purge_places(log):
        found = check(with_message(log, place, datasets=[*log[place].message.datasets, 0]))
        assert f"entry {log[place].seq} " in str(found[0])
        assert "does not follow" in str(found[0])


def test_a_purge_on_another_host_is_found() -> None:
    log = finished_log()
    place = purge_places(log)[0]
    other = "h1" if log[place].message.host == "h0" else "h0"
    assert check(with_message(log, place, host=other))


def test_a_purge_that_was_removed_is_found() -> None:
    log = finished_log()
    place = purge_places(log)[0]
    found = check(log[:place] + log[place + 1 :])
    assert any("not recorded" in str(difference) for difference in found)


@pytest.mark.parametrize("changes", [{"state": "failed"}, {"reason": "because"}])
def test_another_end_is_found(changes: dict[str, str]) -> None:
    log = finished_log()
    place = next(place for place, entry in enumerate(log) if isinstance(entry.message, Ended))
    assert check(with_message(log, place, **changes))
