"""The fold of the log into jobs and hosts, message by message."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.bus import Entry
from headrace.ledger import ASSIGNED, DONE, FAILED, NOWHERE, PUBLISHED, STARTED, WAITING, JobLedger, Ledger
from headrace_schemas import (
    Assign,
    CancelAsked,
    Ended,
    Events,
    FunctionProfile,
    FunctionSpec,
    GraphSource,
    GraphSpec,
    HostJoined,
    HostLost,
    Needed,
    Output,
    Plan,
    Published,
    Purge,
    Released,
    Revoke,
    Submitted,
    TaskError,
    TermBegan,
)

MANY = 200
"""Tasks of a graph whose batches are long enough for numpy."""


def flat(n_tasks: int) -> GraphSpec:
    """Tasks without inputs, all outputs asked for."""
    return spec(n_tasks, [[] for _ in range(n_tasks)], list(range(n_tasks)))


def spec(n_tasks: int, inputs: list[list[int]], outputs: list[int], n_outputs: list[int] | None = None) -> GraphSpec:
    return GraphSpec(
        name="g", n_tasks=n_tasks, shape_hash="", content_hash="", functions=[FunctionSpec(name="f", module="m", qualname="f")],
        function=[0] * n_tasks, n_inputs=[len(i) for i in inputs], inputs=[d for i in inputs for d in i], outputs=outputs,
        n_outputs=n_outputs or [], blocks=[b""], block_size=n_tasks, annotated=[0], metadata=[{"param": "2t"}],
    )  # fmt: skip


class Log:
    """A ledger and a log that grows."""

    def __init__(self, graph: GraphSpec, *hosts: str, **options: Any) -> None:
        self.ledger = Ledger(**options)
        self.seq = 0
        self.entries: list[Entry] = []
        for host in hosts:
            self.fold(HostJoined(at=0, term=1, host=host, epoch=1, address="", runners=1, capacity=1))
        self.fold(Submitted(job="j", name="g", n_tasks=graph.n_tasks, graph=GraphSource(inline=graph), client="me"))

    @property
    def job(self) -> JobLedger:
        return self.ledger.jobs["j"]

    def fold(self, *messages: Any) -> None:
        for message in messages:
            self.seq += 1
            self.entries.append(Entry(self.seq, float(self.seq), message.subject(), message))
            self.ledger.fold(self.entries[-1])

    def events(self, host: str = "a", epoch: int = 1, **columns: Any) -> None:
        self.fold(Events(job="j", host=host, epoch=epoch, **columns))

    def assign(self, chains: list[list[int]], host: str = "a", first: int = 0, attempts: list[int] | None = None, epoch: int = 1) -> None:
        self.fold(Assign(
            at=0, term=1, job="j", host=host, epoch=epoch, hosts=[host], addresses=[], chains=list(range(first, first + len(chains))),
            lengths=[len(chain) for chain in chains], tasks=[t for chain in chains for t in chain], attempts=attempts or [],
        ))  # fmt: skip

    def plan(self, chains: list[list[int]], placed: list[int], hosts: list[str], first: int = 0) -> None:
        self.fold(Plan(
            at=0, term=1, job="j", planner="p", part=0, parts=1, hosts=hosts, epochs=[1] * len(hosts), first=first,
            lengths=[len(chain) for chain in chains], tasks=[t for chain in chains for t in chain], placed=placed,
        ))  # fmt: skip


def test_a_task_goes_from_waiting_to_done() -> None:
    log = Log(flat(1), "a")
    assert log.job.phase == "queued"
    assert log.job.task_counts()["waiting"] == 1
    log.assign([[0]])
    assert log.job.state[0] == ASSIGNED
    assert log.job.phase == "running"
    log.events(started=[0])
    assert log.job.state[0] == STARTED
    log.events(chains=[0], produced=[0], sizes=[7], value_ids=[0], values=[b"v"])
    assert (log.job.state[0], log.job.n_done, log.job.n_missing) == (DONE, 1, 0)
    assert (log.job.size[0], log.job.holder(0)) == (7, "a")


@pytest.mark.parametrize("size", [1, 5, MANY])
def test_columns_of_any_length_fold_alike(size: int) -> None:
    log = Log(flat(size), "a", "b")
    log.plan([[t] for t in range(size)], [t % 2 for t in range(size)], ["a", "b"])
    assert log.job.host.tolist() == [t % 2 for t in range(size)]
    for host, start in (("a", 0), ("b", 1)):
        mine = list(range(start, size, 2))
        log.fold(Assign(at=0, term=1, job="j", host=host, epoch=1, hosts=["a", "b"], addresses=[], chains=mine, lengths=[1] * len(mine),
                        tasks=mine))  # fmt: skip
        log.events(host, chains=mine, produced=mine, sizes=[3] * len(mine))
    assert log.job.n_done == size
    assert log.job.n_missing == 0
    assert log.job.copies.home.tolist() == [t % 2 for t in range(size)]
    assert sorted(log.job.take_changes().done.list()) == list(range(size))
    assert not log.job.take_changes().done


@pytest.mark.parametrize("size", [3, MANY])
def test_a_chain_that_is_done_stands_for_its_tasks(size: int) -> None:
    log = Log(flat(2 * size), "a")
    log.assign([[2 * c, 2 * c + 1] for c in range(size)])
    log.events(done=[0])
    log.events(chains=list(range(size)))
    assert log.job.n_done == 2 * size
    log.events(chains=list(range(size)))
    assert log.job.n_done == 2 * size


def test_a_chain_is_known_from_plan_and_assignment_and_an_assignment_wins() -> None:
    log = Log(flat(3), "a", "b")
    log.plan([[0, 1], [2]], [0, 1], ["a", "b"])
    assert log.job.chains.tasks_of(0) == [0, 1]
    assert log.job.chains.host_of(1) == 1
    log.assign([[2]], "a", first=1)
    assert log.job.chains.host_of(1) == 0
    assert log.job.host[2] == 0
    assert log.job.chains.tasks_of(9) == []


def test_messages_of_an_older_epoch_or_term_do_not_count() -> None:
    log = Log(flat(2), "a")
    log.fold(HostJoined(at=0, term=1, host="a", epoch=2, address="", runners=1, capacity=1))
    log.assign([[0]], epoch=2)
    log.events(epoch=1, done=[0])
    assert log.job.n_done == 0
    log.fold(Needed(at=0, term=5, job="j", tasks=[0], attempts=[1]))
    log.fold(Needed(at=0, term=4, job="j", tasks=[1], attempts=[1]))
    assert log.job.attempt.tolist() == [1, 0]
    log.fold(CancelAsked(at=0, term=1, job="j", reason="why"))
    assert log.job.cancel_asked == "why"


def test_after_the_beginning_of_a_term_decisions_of_earlier_ones_do_not_count() -> None:
    log = Log(flat(3), "a")
    log.fold(TermBegan(at=0, term=5, service="controller"))
    log.fold(Needed(at=0, term=4, job="j", tasks=[0], attempts=[1]), Ended(at=0, term=4, job="j", state="failed"))
    assert (log.job.attempt.tolist(), log.job.end) == ([0, 0, 0], None)
    log.assign([[0]])  # of a scheduler, in term 1
    log.fold(TermBegan(at=0, term=5, service="scheduler"))
    log.assign([[1]], first=1)
    assert list(log.job.states) == [ASSIGNED, WAITING, WAITING]
    log.fold(TermBegan(at=0, term=3, service="controller"), Needed(at=0, term=5, job="j", tasks=[2], attempts=[1]))
    assert log.job.attempt.tolist() == [0, 0, 1]
    assert log.ledger.terms == {"controller": 5, "scheduler": 5}


@pytest.mark.parametrize("size", [2, MANY])
def test_a_lost_host_fails_its_tasks_and_loses_its_copies(size: int) -> None:
    log = Log(flat(size), "a", "b")
    log.assign([[t] for t in range(size)])
    log.events(done=[0], produced=[0, 1], sizes=[1, 1])
    log.events("b", copied=[1])
    log.fold(HostLost(at=0, term=1, host="a", epoch=1))
    assert log.job.state.tolist() == [DONE] + [FAILED] * (size - 1)
    assert [log.job.holder(0), log.job.holder(1)] == ["", "b"]
    assert log.job.n_missing == size - 1
    changes = log.job.take_changes()
    assert changes.lost.list() == [0]
    assert sorted(changes.failed.list()) == list(range(1, size))
    log.events(done=list(range(size)))
    assert log.job.n_done == 1


def test_an_assignment_to_a_host_that_was_lost_fails_at_once() -> None:
    log = Log(flat(2), "a")
    log.fold(HostLost(at=0, term=1, host="a", epoch=1))
    log.assign([[0]])
    assert log.job.state.tolist() == [FAILED, WAITING]


def test_a_needed_task_waits_for_its_new_attempt_only() -> None:
    log = Log(spec(2, [[], [0]], [1]), "a")
    log.assign([[0], [1]])
    log.events(done=[0, 1], produced=[0, 1], sizes=[1, 1])
    log.fold(Needed(at=0, term=1, job="j", tasks=[1], attempts=[1]))
    assert (log.job.state[1], log.job.n_done) == (WAITING, 1)
    log.events(gone=[1])
    log.events(done=[1], done_attempts=[0])
    assert log.job.state[1] == WAITING
    log.assign([[1]], first=2, attempts=[1])
    log.events(chains=[2], produced=[1], produced_attempts=[1], sizes=[1])
    assert (log.job.state[1], log.job.n_done, log.job.n_missing) == (DONE, 2, 0)


def test_an_older_attempt_counts_if_all_it_makes_exists() -> None:
    log = Log(flat(1), "a")
    log.assign([[0]])
    log.fold(Needed(at=0, term=1, job="j", tasks=[0], attempts=[1]))
    log.events(done=[0], done_attempts=[0], produced=[0], sizes=[1])
    assert log.job.state[0] == DONE


def test_a_purged_copy_does_not_come_back_by_an_old_message() -> None:
    log = Log(spec(2, [[], [0]], [1]), "a")
    log.assign([[0], [1]])
    log.events(produced=[0], sizes=[1])
    log.fold(Purge(at=0, term=1, job="j", host="a", epoch=1, datasets=[0]))
    assert log.job.copies.home[0] == NOWHERE
    log.events(produced=[0], sizes=[1])
    log.events(copied=[0])
    assert log.job.copies.hosts(0) == []
    log.events(produced=[0], produced_attempts=[1], sizes=[1])
    assert log.job.copies.hosts(0) == [], "nobody has asked for this attempt"
    log.fold(Needed(at=0, term=1, job="j", tasks=[0], attempts=[1]))
    log.events(produced=[0], produced_attempts=[1], sizes=[1])
    assert log.job.copies.hosts(0) == [0]
    log.fold(Purge(at=0, term=1, job="j", host="a", epoch=1, datasets=[0]))
    log.events(kept=[0])
    assert log.job.copies.hosts(0) == [0]
    assert log.job.kept == {(0, 0)}
    log.events(done=[1])
    assert log.job.kept == set()


def test_a_new_consumer_on_a_host_may_copy_what_was_dropped_there() -> None:
    log = Log(spec(2, [[], [0]], [1]), "a", "b")
    log.assign([[0], [1]])
    log.events("a", produced=[0], sizes=[1])
    log.events("b", copied=[0])
    log.fold(Purge(at=0, term=1, job="j", host="b", epoch=1, datasets=[0]))
    log.fold(Needed(at=0, term=1, job="j", tasks=[1], attempts=[1]))
    log.assign([[1]], "b", first=2, attempts=[1])
    log.events("b", copied=[0])
    assert log.job.copies.hosts(0) == [0, 1]


def test_the_home_moves_to_another_copy() -> None:
    log = Log(spec(2, [[], [0]], [1]), "a", "b", "c")
    log.assign([[0], [1]])
    log.events("a", produced=[0], sizes=[1])
    log.events("c", copied=[0])
    log.events("b", copied=[0])
    log.job.take_changes()
    log.fold(Purge(at=0, term=1, job="j", host="a", epoch=1, datasets=[0]))
    assert log.job.holder(0) == "c", "the hosts of the job are numbered as they came up"
    assert [touched.host for touched in log.job.take_changes().touched] == [log.job.host_ids["c"]]


def test_more_hosts_than_fit_into_one_column() -> None:
    names = [f"h{n}" for n in range(150)]
    log = Log(flat(1), *names)
    log.fold(Assign(at=0, term=1, job="j", host="h0", epoch=1, hosts=names, addresses=[], chains=[0], lengths=[1], tasks=[0]))
    for name in ("h149", "h64", "h63"):
        log.events(name, produced=[0], sizes=[1])
    assert log.job.copies.hosts(0) == [63, 64, 149]
    assert log.job.holder(0) == "h149"
    log.fold(HostLost(at=0, term=1, host="h149", epoch=1))
    assert log.job.holder(0) == "h63"
    log.fold(Purge(at=0, term=1, job="j", host="h63", epoch=1, datasets=[0]))
    assert log.job.holder(0) == "h64"


def test_a_value_in_an_event_makes_an_output_available() -> None:
    log = Log(flat(2), "a", keep_values=True)
    log.assign([[0], [1]])
    log.events(value_ids=[0], values=[b"first"])
    log.events(value_ids=[0], values=[b"second"])
    assert log.job.values == {0: b"first"}
    assert log.job.n_missing == 1
    assert log.job.take_changes().outputs.list() == [0]
    log.fold(Published(at=0, term=1, job="j", outputs=[Output(dataset=0, name="f-0")]))
    assert [bool(flags & PUBLISHED) for flags in log.job.flags.tolist()] == [True, False]


def test_values_are_kept_only_if_asked() -> None:
    log = Log(flat(1), "a")
    log.assign([[0]])
    log.events(value_ids=[0], values=[b"v"])
    assert log.job.values == {}


def test_what_arrays_are_is_kept_with_the_values_only() -> None:
    for keep, expected in ((True, {1: ("float64", [2, 3])}), (False, {})):
        log = Log(flat(2), "a", keep_values=keep)
        log.events(produced=[0, 1], sizes=[1, 48], typed=[1], dtypes=["float64"], shapes=[[2, 3]])
        assert log.job.arrays == expected


def test_metadata_is_of_the_task_then_of_the_output_then_of_the_yield() -> None:
    graph = spec(1, [[]], [0, 1], n_outputs=[2])
    log = Log(msgspec.structs.replace(graph, described=[1], descriptions=[{"param": "10u", "step": 0}]), "a")
    log.events(produced=[0, 1], sizes=[1, 1], metadata_ids=[1], metadata=[{"step": 6}])
    assert log.job.metadata(0) == {"param": "2t"}
    assert log.job.metadata(1) == {"param": "10u", "step": 6}


def test_metadata_of_a_yield_comes_on_top_of_its_tasks() -> None:
    log = Log(spec(1, [[]], [0, 1], n_outputs=[2]), "a")
    log.assign([[0]])
    log.events(produced=[0, 1], sizes=[1, 1], metadata_ids=[1], metadata=[{"step": 6}])
    assert log.job.metadata(0) == {"param": "2t"}
    assert log.job.metadata(1) == {"param": "2t", "step": 6}
    assert log.job.dataset_name(1) == "f-0[1]"


def test_a_revoked_chain_waits_from_its_cut_on() -> None:
    log = Log(flat(4), "a")
    log.assign([[0, 1, 2], [3]])
    log.fold(Revoke(at=0, term=1, job="j", host="a", epoch=1, chains=[0, 1], cuts=[1, 0]))
    log.events(done=[0], revoked=[0, 1])
    assert log.job.state.tolist() == [DONE, WAITING, WAITING, WAITING]
    assert sorted(log.job.take_changes().revoked.list()) == [1, 2, 3]


def test_the_first_word_on_a_failed_attempt_counts() -> None:
    log = Log(flat(1), "a")
    log.assign([[0]])
    log.events(failed=[TaskError(task=0, error="one")])
    log.events(failed=[TaskError(task=0, error="two")])
    assert log.job.state[0] == FAILED
    assert log.job.failures[0][0].error == "one"
    assert log.job.take_changes().failed.list() == [0]


def test_released_outputs_are_not_missing() -> None:
    log = Log(flat(3), "a")
    log.fold(Released(at=0, term=1, job="j", datasets=[1]))
    assert (log.job.n_missing, log.job.n_released) == (2, 1)
    log.fold(Released(at=0, term=1, job="j"))
    assert (log.job.n_missing, log.job.n_released) == (0, 3)


def test_the_end_of_a_job_is_said_once_and_nothing_counts_after_a_failure() -> None:
    log = Log(flat(1), "a")
    log.assign([[0]])
    log.fold(Ended(at=0, term=1, job="j", state="failed", reason="first"), Ended(at=0, term=1, job="j", state="done"))
    log.events(done=[0])
    assert (log.job.phase, log.job.end.reason if log.job.end else "", log.job.n_done) == ("failed", "first", 0)


def test_profiles_add_up_and_a_message_that_comes_twice_counts_once() -> None:
    log = Log(flat(2), "a")
    log.assign([[0], [1]])
    entry = FunctionProfile(function=0, count=1, total=2.0, longest=2.0)
    for _ in range(2):
        log.events(done=[0], profile=[entry])
    log.events(done=[1], profile=[entry])
    assert log.job.profile == {0: (2, 4.0, 2.0)}


@pytest.mark.parametrize(
    "columns",
    [
        {"done": [5]}, {"done": [-1]}, {"chains": [77, -3]}, {"produced": [9], "sizes": [1]}, {"produced": [0], "sizes": []},
        {"copied": [99]}, {"kept": [99]}, {"gone": [-7]}, {"value_ids": [4], "values": [b""]}, {"revoked": [12]},
        {"failed": [TaskError(task=44)]}, {"done": [0], "done_attempts": [1, 2]}, {"started": [3]},
    ],
)  # fmt: skip
def test_ids_that_no_graph_has_are_survived(columns: dict[str, Any]) -> None:
    log = Log(flat(2), "a")
    log.assign([[0], [1]])
    log.events(**columns)
    assert log.job.n_done == 0


def test_a_graph_that_cannot_be_run_gives_a_job_with_a_problem() -> None:
    log = Log(spec(1, [[0]], [0]))
    assert "task 0 takes dataset 0" in log.job.problem
    log.assign([[0]])
    log.events(done=[0])
    assert log.job.status()["state"] == "queued"


def test_a_forgotten_job_does_not_come_back() -> None:
    log = Log(flat(1))
    submitted = Submitted(job="j", name="g", n_tasks=1, graph=GraphSource(inline=flat(1)))
    log.ledger.forget_job("j")
    log.fold(submitted)
    assert log.ledger.jobs == {}
    assert log.ledger.knows("j")


def test_jobs_that_changed_are_named_in_order() -> None:
    log = Log(flat(1), "a")
    log.fold(Submitted(job="i", name="g", n_tasks=1, graph=GraphSource(inline=flat(1))))
    assert [job.job for job in log.ledger.take_changed()] == ["i", "j"]
    assert log.ledger.take_changed() == []


# --- jobs of one task, and jobs that are done when their values are there ----------------------------------------------


def test_a_job_of_one_task_needs_no_plan() -> None:
    log = Log(flat(1), "a")
    job = log.ledger.jobs["j"]
    assert (job.phase, job.planned, job.n_planned) == ("queued", False, 1)
    log.fold(Assign(at=1, term=1, job="j", host="a", epoch=1, hosts=["a"], addresses=[""], chains=[0], lengths=[1], tasks=[0]))
    assert (job.phase, job.planned, job.states[0], job.chains.host_of(0)) == ("running", True, ASSIGNED, 0)
    assert job.hosts[job.placed[0]] == "a"
    log.fold(Events(job="j", host="a", epoch=1, chains=[0]))
    assert (job.states[0], job.n_done) == (DONE, 1)


def test_a_reader_of_events_alone_knows_the_chain_of_the_only_task() -> None:
    log = Log(flat(1))
    log.fold(Events(job="j", host="a", epoch=1, chains=[0]))
    assert log.ledger.jobs["j"].n_done == 1


def value_of(*datasets: int) -> Events:
    return Events(job="j", host="a", epoch=1, produced=list(datasets), value_ids=list(datasets), values=[b"x"] * len(datasets))


def test_a_job_is_done_by_its_values_when_all_are_there() -> None:
    log = Log(flat(2), "a")
    job = log.ledger.jobs["j"]
    assert not job.done_by_values
    log.fold(value_of(0))
    log.fold(value_of(0))
    assert not job.done_by_values
    log.fold(value_of(1))
    assert not job.done_by_values, "a task may fail after its last value"
    log.fold(Events(job="j", host="a", epoch=1, done=[0, 1]))
    assert job.done_by_values
    assert job.end is None


@pytest.mark.parametrize(
    "before",
    [
        CancelAsked(at=1, term=1, job="j"),
        Events(job="j", host="a", epoch=1, failed=[TaskError(task=1)]),
    ],
)
def test_values_do_not_tell_the_end_of_a_job_that_may_have_ended_otherwise(before: Any) -> None:
    log = Log(flat(2), "a")
    log.fold(before)
    log.fold(value_of(0, 1))
    assert not log.ledger.jobs["j"].done_by_values


def test_what_is_kept_for_the_client() -> None:
    log = Log(flat(3), "a")
    job = log.ledger.jobs["j"]
    log.fold(Events(job="j", host="a", epoch=1, produced=[0, 1, 2], value_ids=[0], values=[b"x"]))
    assert not job.nothing_kept
    log.fold(Released(at=1, term=1, job="j", datasets=[1]))
    assert not job.nothing_kept
    log.fold(Released(at=1, term=1, job="j", datasets=[2]))
    assert job.nothing_kept
