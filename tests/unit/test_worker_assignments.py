"""What the log tells a host, without runners or links."""

from __future__ import annotations

import pytest

from headrace.runner import protocol
from headrace.worker.agent.actions import Connect, Report, ToRunner
from headrace.worker.agent.assignments import Assignments
from headrace.worker.agent.chains import Chains
from headrace.worker.agent.dispatch import Dispatcher
from headrace.worker.agent.known import KnownJobs
from headrace.worker.agent.metrics import Counts
from headrace.worker.agent.peers import Peers
from headrace.worker.agent.sources import Sources
from headrace.worker.settings import Settings
from headrace_schemas import Assign, Ended, Events, HostLost, Purge, Reroute, Revoke
from tests.unit.worker_parts import NAME, Parts
from tests.unit.worker_world import graph_of

EPOCH = 7
GRAPH = graph_of([[], [0], [1]], [2])
SETTINGS = Settings(host="h0", runners=1, part_chains=2)


class Alone(Parts):
    """A host that runs task 1 of a job, takes dataset 0 from host h1, and has no runner yet."""

    def __init__(self) -> None:
        super().__init__()
        runners = Dispatcher(SETTINGS, self.datasets.prepare, self.datasets.may_park, lambda: True)
        counts, self.news, self.known = Counts(), dict[str, None](), KnownJobs(EPOCH, 2)
        chains = Chains(self.known, self.datasets, runners, counts, self.actions)
        self.sources = Sources(SETTINGS, self.known.by_name, self.actions, self.grants.take_back, 0.0)
        peers = Peers(self.known.by_name, self.known.over, self.serving, self.grants, self.actions)
        self.orders = Assignments(
            self.known,
            chains,
            self.datasets,
            self.grants,
            runners,
            self.sources,
            peers,
            self.news,
            counts,
            self.actions,
            SETTINGS,
        )
        self.runners = runners

    def assign(self, **changed: object) -> None:
        """Assign task 1."""
        fields = {
            "job": NAME,
            "host": "h0",
            "epoch": EPOCH,
            "at": 1,
            "term": 1,
            "chains": [4],
            "lengths": [1],
            "tasks": [1],
            "hosts": ["h1"],
            "addresses": ["h1:1"],
            "sources": [0],
        }
        self.orders.assign(Assign(**fields | changed), GRAPH)  # type: ignore[arg-type]

    def told(self) -> list[Events]:
        """What the log is told of the job."""
        return self.known.by_name[NAME].report.take(0)


@pytest.fixture
def host() -> Alone:
    return Alone()


def test_the_inputs_of_a_chain_are_asked_for_when_it_is_assigned(host):
    host.assign()
    assert host.decided() == [Connect("h1", "h1:1")]
    job = host.known.by_name[NAME]
    assert (list(job.chains), job.entries[0].source, job.chains[4].segments[0].missing) == ([4], "h1", 1)
    assert host.orders.assigned is None


@pytest.mark.parametrize("changed", [{"epoch": EPOCH - 1}, {"epoch": EPOCH + 1}])
def test_an_assignment_to_another_epoch_is_passed_over(host, changed):
    host.assign(**changed)
    assert not host.known.by_name


def test_an_order_of_an_older_leader_is_passed_over(host):
    host.assign(term=3)
    host.orders.revoke(Revoke(job=NAME, host="h0", epoch=EPOCH, at=2, term=2, chains=[4]))
    assert host.known.by_name[NAME].n_live == 1


def test_an_order_that_names_what_is_not_in_the_graph_is_counted(host):
    host.assign()
    host.orders.purge(Purge(job=NAME, host="h0", epoch=EPOCH, at=2, term=1, datasets=[9]))
    assert host.orders.impossible == 1


def test_a_job_without_its_graph_fails(host):
    host.orders.assign(
        Assign(job=NAME, host="h0", epoch=EPOCH, at=1, term=1, chains=[4], lengths=[1], tasks=[1], hosts=[], addresses=[], sources=[]), None
    )
    (report,) = host.decided()
    assert isinstance(report, Report)
    assert [(error.task, error.reason) for error in report.events.failed] == [(1, "no_graph")]


def test_a_chain_that_has_not_begun_is_given_back(host):
    host.assign()
    host.orders.revoke(Revoke(job=NAME, host="h0", epoch=EPOCH, at=2, term=1, chains=[4, 9]))
    assert [events.revoked for events in host.told()] == [[4]]


def test_a_dataset_is_asked_for_elsewhere_when_it_is_rerouted(host):
    host.assign()
    host.decided()
    reroute = Reroute(job=NAME, host="h0", epoch=EPOCH, at=2, term=1, datasets=[0], sources=[0], hosts=["h2"], addresses=["h2:1"])
    host.orders.reroute(reroute)
    assert host.decided() == [Connect("h2", "h2:1")]
    assert host.known.by_name[NAME].entries[0].source == "h2"


def test_what_is_not_needed_is_dropped_and_the_rest_reported_as_kept(host):
    host.assign()
    job = host.known.by_name[NAME]
    host.datasets.values(job, {0: b"zero", 2: b"two"}, {})
    host.orders.purge(Purge(job=NAME, host="h0", epoch=EPOCH, at=2, term=1, datasets=[0, 2]))
    assert (list(job.entries), [events.kept for events in host.told()]) == ([0], [[0]])


def test_a_job_that_is_over_is_forgotten_and_its_runners_close_it(host):
    host.assign()
    host.known.by_name[NAME].runners.add(0)
    host.decided()
    host.orders.end(Ended(job=NAME, at=2, term=1, state="failed"))
    assert host.decided() == [ToRunner(0, protocol.CloseJob(1))]
    assert (host.known.by_name, host.known.by_number, list(host.known.over)) == ({}, {}, [NAME])
    host.assign(at=3)
    assert not host.known.by_name, "an assignment that came late"


def test_only_the_newest_jobs_are_known_to_be_over(host):
    for name in ("a", "b", "c"):
        host.orders.end(Ended(job=name, at=2, term=1, state="done"))
    assert list(host.known.over) == ["b", "c"]


def test_a_job_fails_where_its_state_here_cannot_be_trusted(host):
    host.assign()
    host.orders.fail_job(NAME, "a mistake")
    (events,) = host.told()
    assert [(error.task, error.reason) for error in events.failed] == [(1, "internal")]


def test_a_host_that_others_cannot_reach_is_expelled_in_this_epoch_only(host):
    host.orders.host_lost(HostLost(host="h0", epoch=EPOCH, at=2, term=1, cut=True))
    assert host.orders.expelled
    host.known.epoch += 1
    assert not host.orders.expelled
