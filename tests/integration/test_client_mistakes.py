"""The errors of a local cluster for a user's mistakes, and the state that a job reports."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import headrace as hr
from tests.waiting import eventually, wait_for

WAIT = 30.0


class OnlyThere:
    """Can be unpickled in processes other than the test's, and not in it."""

    def __init__(self) -> None:
        self.home = os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return _only_elsewhere, (int(os.environ["HEADRACE_TEST_CLIENT"]), bytes(20))


def _only_elsewhere(client: int, _: bytes) -> str:
    if os.getpid() == client:
        raise ModuleNotFoundError("no module of this name")
    return "fine"


def make_unreadable(client: int) -> OnlyThere:
    os.environ["HEADRACE_TEST_CLIENT"] = str(client)
    return OnlyThere()


def steps(n: int) -> Iterator[hr.Output]:
    for step in range(n):
        yield hr.Output(step, step=step)


@hr.task
def double(x: int) -> int:
    return 2 * x


def say_and_end(text: str) -> None:
    print(text, flush=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[hr.Cluster]:
    with hr.Cluster.local(hosts=1, runners=2) as cluster:
        yield cluster


def test_what_is_no_graph_cannot_be_submitted(cluster: hr.Cluster) -> None:
    with pytest.raises(TypeError, match=r"submit takes an hr.Graph, not <Node 'double'.*cluster.compute\(node\).*from_nodes"):
        cluster.submit(double.delay(1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"submit takes an hr.Graph, not 3: make one"):
        cluster.submit(3)  # type: ignore[arg-type]
    graph = hr.Graph("whole")
    graph.add(abs, 1)
    with pytest.raises(TypeError, match=r"compute takes nodes, not <Graph 'whole': 1 task>.*cluster.submit\(graph\)"):
        cluster.compute([graph])


@pytest.mark.parametrize("job", ["", "no such job", "a.b", "x" * 300, None])
def test_what_can_be_no_id_is_no_job(cluster: hr.Cluster, job: Any) -> None:
    with pytest.raises(hr.NoSuchJob, match="is not the id of a job"):
        cluster.job(job)


@pytest.mark.parametrize("url", ["garbage::x", "nats://h:99999999", "http://127.0.0.1:4222", "nats://", "nats://a:1, ,"])
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(hr.NatsUnreachable, match="is not an address of a NATS server"):
        hr.Cluster.connect(url)


@pytest.mark.parametrize("wrong", [1000, (1 << 20) - 1, "2G"])
def test_a_store_that_is_too_small_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"capacity=.* at least 1048576"):
        hr.Cluster.local(capacity=wrong)


def test_the_states_of_tasks_are_the_same_for_everybody(cluster: hr.Cluster, tmp_path: Path) -> None:
    graph = hr.Graph()
    nodes = [graph.add(wait_for, str(tmp_path / f"go-{index}")) for index in range(3)]
    graph.add(len, nodes)
    job = cluster.submit(graph)
    with hr.Cluster.connect(cluster.url, token=cluster.token) as other:
        eventually(lambda: job.status().tasks["started"] == other.job(job.id).status().tasks["started"] == 2, told=job.status)
        found = other.job(job.id)
        assert job.status().tasks == found.status().tasks == {"pending": 2, "started": 2, "done": 0, "failed": 0}
    for index in range(3):
        (tmp_path / f"go-{index}").touch()
    assert job.wait(WAIT) == "done"
    assert job.status().tasks == {"pending": 0, "started": 0, "done": 4, "failed": 0}


def test_a_job_tells_the_metadata_of_its_outputs(cluster: hr.Cluster, tmp_path: Path) -> None:
    graph = hr.Graph()
    late = graph.add(wait_for, str(tmp_path / "go"), name="late", metadata={"unit": "K"})
    made = graph.add(steps, 2, name="steps", outputs=2, metadata={"param": "2t", "step": -1})
    graph.output(late, made)
    job = cluster.submit(graph)
    assert job.metadata("late") == {"unit": "K"}
    job.result("steps[1]", WAIT)
    assert job.metadata("steps[1]") == {"param": "2t", "step": 1}
    (tmp_path / "go").touch()
    job.wait(WAIT)
    assert cluster.job(job.id).metadata("steps[0]") == {"param": "2t", "step": 0}
    with pytest.raises(KeyError, match="no output 'other'"):
        job.metadata("other")


def test_a_value_that_cannot_be_read_here_names_its_output(cluster: hr.Cluster) -> None:
    graph = hr.Graph()
    graph.add(make_unreadable, os.getpid(), name="strange")
    graph.add(abs, -1, name="plain")
    job = cluster.submit(graph)
    for get in (job.results, lambda seconds: job.result("strange", seconds)):
        with pytest.raises(hr.UnreadableResult, match=r"output 'strange' of job .* ModuleNotFoundError: no module of this name") as caught:
            get(WAIT)
        assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert job.result("plain", WAIT) == 1


def returns_generator() -> Iterator[int]:
    return (number for number in range(3))


class Odd(Exception):
    def __init__(self) -> None:
        super().__init__("odd")
        self.__notes__ = None


def raise_odd() -> None:
    raise Odd


@pytest.mark.parametrize(
    ("function", "error", "why"),
    [
        (
            returns_generator,
            hr.TaskFailed,
            r"a generator cannot be pickled.*Return list\(\.\.\.\) of it, or give the task outputs=n",
        ),
        (lambda: (lambda: (yield 1))(), hr.TaskFailed, "a generator cannot be pickled"),
        (raise_odd, hr.TaskFailed, "task 'x' failed: .*Odd: odd"),
    ],
)
def test_a_task_that_fails_says_what_to_do(cluster: hr.Cluster, function: Any, error: Any, why: str) -> None:
    graph = hr.Graph()
    graph.add(function, name="x")
    with pytest.raises(error, match=why):
        cluster.submit(graph).results(WAIT)


def test_what_belongs_to_this_process_cannot_be_sent(cluster: hr.Cluster) -> None:
    graph = hr.Graph()
    graph.add(lambda: cluster, name="x")
    with pytest.raises(hr.NotPicklable, match=r"a cluster cannot be sent to a task.*connects by itself with hr\.Cluster\.connect"):
        cluster.submit(graph)
    job = cluster.submit(_plain())
    with pytest.raises(TypeError, match=rf"job {job.id} cannot be sent to a task.*Pass its id"):
        pickle.dumps(job)


@pytest.mark.parametrize("timeout", ["3", [1], 1j])
def test_what_is_no_time_is_told(cluster: hr.Cluster, timeout: Any) -> None:
    job = cluster.submit(_plain())
    for wait in (job.wait, job.results, lambda seconds: job.result("x", seconds), lambda seconds: cluster.compute(1, timeout=seconds)):
        with pytest.raises(TypeError, match="give a number of seconds, or None to wait without limit"):
            wait(timeout)
    with pytest.raises(ValueError, match="timeout=nan"):
        job.wait(float("nan"))


def test_the_token_is_seen_by_nobody_who_looks(cluster: hr.Cluster) -> None:
    assert cluster.token
    assert cluster.token not in repr(cluster)
    supervisor = psutil.Process(cluster.pids()["supervisor"])
    for process in (supervisor, *supervisor.children(recursive=True)):
        assert cluster.token not in " ".join(process.cmdline())
    address = cluster.url.removeprefix("nats://")
    with pytest.raises(hr.WrongCredentials) as refused:
        hr.Cluster.connect(f"nats://me:se@cret@{address}")
    with pytest.raises(hr.NatsUnreachable) as unreachable:
        hr.Cluster.connect("nats://me:se@cret@127.0.0.1:9", connect_timeout=0.1)
    with pytest.raises(hr.NatsUnreachable) as malformed:
        hr.Cluster.connect("garbage://me:se@cret@127.0.0.1")
    for caught in (refused, unreachable, malformed):
        assert "cret" not in str(caught.value)
        assert "***@127.0.0.1" in str(caught.value)


def test_the_token_comes_from_a_file(cluster: hr.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text(f"{cluster.token}\n")
    monkeypatch.setenv("HEADRACE_URL", cluster.url)
    monkeypatch.setenv("HEADRACE_TOKEN_FILE", str(tmp_path / "token"))
    with hr.Cluster.connect() as other:
        assert other.hosts == cluster.hosts


def _plain() -> hr.Graph:
    graph = hr.Graph()
    graph.add(abs, -1, name="x")
    return graph


def test_a_failure_shows_the_log_of_its_own_cluster_only(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("a line of the cluster before\n")
    with hr.Cluster.local(hosts=1, log_file=log) as cluster:
        graph = hr.Graph()
        graph.add(say_and_end, "a line of this cluster")
        cluster.submit(graph).wait(WAIT)
        job = cluster.submit(_endless())
        os.kill(cluster.pids()["supervisor"], signal.SIGKILL)  # another service would be started again
        with pytest.raises(hr.ClusterFailed, match=r"supervisor ended(?s:.*)a line of this cluster") as caught:
            job.wait(WAIT)
    assert "cluster before" not in str(caught.value)
    assert log.read_text().startswith("a line of the cluster before\n")


def _endless() -> hr.Graph:
    graph = hr.Graph("endless")
    graph.add(time.sleep, 600)
    return graph
