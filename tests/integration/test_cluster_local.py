"""A local cluster as its users see it: graphs in, values out, errors that say what happened."""

from __future__ import annotations

import operator
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import headrace as hr
from headrace.client.following import Following
from tests.waiting import eventually, wait_for

WAIT = 30.0
"""Seconds after which a test gives up; everything here takes a fraction of one."""


def load(number: int) -> np.ndarray:
    return np.full(1 << 17, float(number))


def mean(fields: list[np.ndarray]) -> np.ndarray:
    return np.mean(fields, axis=0)


def count_to(n: int) -> Iterator[int]:
    yield from range(n)


def fail(value: int) -> int:
    raise ValueError(f"cannot use {value}")


def read_input() -> str:
    return sys.stdin.read()


@hr.task
def double(x: int) -> int:
    return 2 * x


@hr.task
def add(x: int, y: int) -> int:
    return x + y


@pytest.fixture(scope="module")
def cluster() -> Iterator[hr.Cluster]:
    with hr.Cluster.local(hosts=2, runners=1) as cluster:
        yield cluster


def test_results_come_by_name(cluster: hr.Cluster) -> None:
    graph = hr.Graph("names")
    parts = graph.add(count_to, 3, outputs=3, name="count")
    total = graph.add(sum, parts, name="total")
    graph.output(total, parts)
    results = cluster.submit(graph).results(WAIT)
    assert results == {"total": 3, "count[0]": 0, "count[1]": 1, "count[2]": 2}


def test_large_values_are_fetched_from_the_hosts_that_hold_them(cluster: hr.Cluster) -> None:
    graph = hr.Graph("large")
    fields = [graph.add(load, number, name=f"load-{number}") for number in range(6)]
    graph.output(fields, graph.add(mean, fields, name="mean"))
    results = cluster.submit(graph).results(WAIT)
    assert all((results[f"load-{number}"] == number).all() for number in range(6))
    assert (results["mean"] == 2.5).all()
    assert not results["mean"].flags.writeable


def test_values_stay_after_everything_else_is_gone() -> None:
    with hr.Cluster.local(hosts=1) as cluster:
        graph = hr.Graph()
        graph.add(load, 7, name="load")
        value = cluster.submit(graph).results(WAIT)["load"]
    assert value.sum() == 7.0 * (1 << 17)


def test_calls_of_decorated_functions_are_computed(cluster: hr.Cluster) -> None:
    two = double.delay(1)
    assert cluster.compute(add(two, double(two)), timeout=WAIT) == 6
    assert cluster.compute(two, {"four": [double(two)], "same": "text"}, timeout=WAIT) == (2, {"four": [4], "same": "text"})
    assert cluster.compute(5) == 5


def test_nodes_of_a_graph_are_computed(cluster: hr.Cluster) -> None:
    graph = hr.Graph()
    parts = graph.add(count_to, 3, outputs=3)
    total = graph.add(sum, parts)
    assert cluster.compute([total, parts, parts[2]], timeout=WAIT) == [3, [0, 1, 2], 2]


def test_a_graph_can_be_submitted_again_and_at_the_same_time(cluster: hr.Cluster) -> None:
    graph = hr.Graph()
    graph.add(operator.add, 1, 2, name="sum")
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(cluster.submit(graph).results(WAIT)["sum"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert found == [3] * 8


def test_a_graph_too_large_for_a_message(cluster: hr.Cluster) -> None:
    graph = hr.Graph("long")
    node = graph.add(operator.add, 0, 0)
    nodes = [graph.add(operator.add, node, number, name=f"a-rather-long-name-for-a-task-{number:06}") for number in range(6000)]
    graph.output(graph.add(sum, nodes, name="total"))
    assert cluster.submit(graph).results(WAIT) == {"total": sum(range(6000))}


def test_a_task_that_raises_says_which_where_and_with_what(cluster: hr.Cluster) -> None:
    graph = hr.Graph()
    one = graph.add(operator.add, 0, 1, name="one")
    graph.add(fail, one, name="broken")
    job = cluster.submit(graph)
    with pytest.raises(hr.TaskFailed, match="'broken' failed: ValueError: cannot use 1; its inputs: one") as caught:
        job.results(WAIT)
    failure = caught.value
    assert (failure.task, failure.inputs) == ("broken", ("one",))
    assert 'raise ValueError(f"cannot use {value}")' in failure.remote_traceback
    assert isinstance(failure.__cause__, ValueError)
    with pytest.raises(hr.TaskFailed, match="'broken' failed: ValueError: cannot use 1"):
        job.wait(WAIT)
    assert (job.wait(check=False), job.done) == ("failed", True)
    assert "cannot use 1" in job.status().error
    assert cluster.compute(double.delay(4), timeout=WAIT) == 8


def test_an_output_can_be_had_before_the_job_is_over(cluster: hr.Cluster, tmp_path: Path) -> None:
    graph = hr.Graph()
    graph.output(graph.add(operator.add, 1, 1, name="early"), graph.add(wait_for, str(tmp_path / "go"), name="late"))
    job = cluster.submit(graph)
    assert job.result("early", WAIT) == 2
    assert not job.done
    (tmp_path / "go").touch()
    assert job.result("late", WAIT) == str(tmp_path / "go")
    with pytest.raises(KeyError, match="no output 'other'"):
        job.result("other")


def test_a_timeout_leaves_the_job_as_it_is(cluster: hr.Cluster, tmp_path: Path) -> None:
    graph = hr.Graph("patient")
    graph.add(wait_for, str(tmp_path / "go"), name="late")
    job = cluster.submit(graph)
    for wait in (job.wait, job.results, lambda seconds: job.result("late", seconds)):
        with pytest.raises(hr.JobTimeout, match=r"patient.*0\.05 s"):
            wait(0.05)
    assert job.status().tasks["done"] == 0
    (tmp_path / "go").touch()
    assert job.wait(WAIT) == "done"
    status = job.status()
    assert (status.state, status.tasks["done"], status.available, status.hosts) == ("done", 1, 1, ("host-0", "host-1"))


@pytest.mark.parametrize("n_tasks", [1, 20_000])
def test_a_job_that_is_cancelled_at_once_is_cancelled(cluster: hr.Cluster, tmp_path: Path, n_tasks: int) -> None:
    """Also where its graph goes through the object store, and takes longer to be submitted than the request to cancel it."""
    graph = hr.Graph("regretted")
    for k in range(n_tasks):
        graph.output(graph.add(wait_for, str(tmp_path / "never"), name=f"waits-{k}"))
    job = cluster.submit(graph)
    job.cancel("a mistake")
    with pytest.raises(hr.JobCancelled, match="a mistake"):
        job.wait(WAIT)
    assert job.wait(WAIT, check=False) == "cancelled"


def test_a_cancelled_job_says_why(cluster: hr.Cluster, tmp_path: Path) -> None:
    graph = hr.Graph()
    graph.add(wait_for, str(tmp_path / "never"))
    job = cluster.submit(graph)
    assert job.cancel("changed my mind")
    with pytest.raises(hr.JobCancelled, match="changed my mind"):
        job.results(WAIT)
    assert not job.cancel("again") or job.status().state == "cancelled"
    (tmp_path / "never").touch()
    assert cluster.compute(double.delay(4), timeout=WAIT) == 8
    done = cluster.submit(hr.Graph.from_nodes(double.delay(4)))
    done.wait(WAIT)
    assert not done.cancel("too late")


def test_a_request_to_cancel_that_nobody_takes_note_of_says_so(
    cluster: hr.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = hr.Graph("held")
    graph.add(wait_for, str(tmp_path / "never"))
    job = cluster.submit(graph)
    with monkeypatch.context() as patched:
        patched.setattr(Following, "_send_request", lambda following, data: None)
        with pytest.raises(hr.JobTimeout, match=r"did not confirm within 0\.2 s that job .* was cancelled\. Check that NATS answers"):
            job.cancel("now", timeout=0.2)
    assert job.cancel("now")
    with pytest.raises(hr.JobCancelled, match="now"):
        job.wait(WAIT)


def test_a_job_can_be_found_again_by_another_client(cluster: hr.Cluster) -> None:
    graph = hr.Graph("found")
    graph.add(operator.add, 20, 3, name="sum")
    job = cluster.submit(graph)
    job.wait(WAIT)
    with hr.Cluster.connect(cluster.url, token=cluster.token) as other:
        assert other.hosts == ["host-0", "host-1"]
        assert other.job(job.id).results(WAIT) == {"sum": 23}
        eventually(lambda: ("found", "done") in [(entry.name, entry.state) for entry in other.jobs()])  # written after the log is
        with pytest.raises(hr.NoSuchJob, match="nosuchjob"):
            other.job("nosuchjob")
        with pytest.raises(hr.ClusterFailed, match="this cluster is not local"):
            other.peak_memory()
    assert cluster.compute(double.delay(4), timeout=WAIT) == 8


def test_who_has_no_token_is_told(cluster: hr.Cluster) -> None:
    with pytest.raises(hr.WrongCredentials):
        hr.Cluster.connect(cluster.url, token="wrong")


def test_modules_beside_the_caller_are_found_by_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_of_the_caller.py").write_text("import os\ndef where(): return os.getcwd()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    module = __import__("module_of_the_caller")
    with hr.Cluster.local(hosts=1) as cluster:
        graph = hr.Graph()
        graph.add(module.where, name="where")
        assert cluster.submit(graph).results(WAIT) == {"where": str(tmp_path)}


def test_a_task_has_no_input_to_read_and_its_output_goes_to_the_log(tmp_path: Path) -> None:
    with hr.Cluster.local(hosts=1, log_file=tmp_path / "log") as cluster:
        graph = hr.Graph()
        graph.output(graph.add(read_input, name="input"), graph.add(print, "hello from a task", flush=True, name="output"))
        assert cluster.submit(graph).results(WAIT) == {"input": "", "output": None}
    assert "hello from a task" in (tmp_path / "log").read_text()


def test_the_peak_of_memory_counts_tasks_and_stores(cluster: hr.Cluster) -> None:
    before = cluster.peak_memory()
    graph = hr.Graph()
    graph.add(np.ones, 32 << 20, dtype=np.uint8, name="ones")
    assert cluster.submit(graph).results(WAIT)["ones"].nbytes == 32 << 20
    assert cluster.peak_memory() - before > 32 << 20


def test_a_closed_cluster_says_so() -> None:
    cluster = hr.Cluster.local(hosts=1)
    job = cluster.submit(_endless())
    waiting: list[BaseException] = []

    def wait() -> None:
        try:
            job.results()
        except BaseException as error:
            waiting.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    cluster.close()
    cluster.close()
    thread.join(WAIT)
    assert [type(error) for error in waiting] == [hr.ClusterClosed]
    with pytest.raises(hr.ClusterClosed, match="use it inside its `with` block"):
        cluster.submit(_endless())


def test_a_fork_is_told_that_the_cluster_is_not_its_own(cluster: hr.Cluster) -> None:
    pid = os.fork()
    if not pid:
        try:
            cluster.compute(double.delay(1))
        except hr.ClusterClosed as error:
            os._exit(0 if "Cluster.connect" in str(error) else 2)
        finally:
            cluster.close()
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert cluster.compute(double.delay(1), timeout=WAIT) == 2


def test_a_cluster_that_cannot_start_shows_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    with pytest.raises(hr.ClusterFailed, match="No module named"):
        hr.Cluster.local(hosts=1)


@pytest.mark.parametrize("wrong", [{"hosts": 0}, {"runners": -1}, {"capacity": 0}, {"hosts": 1.5}])
def test_sizes_are_checked(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="give a whole number"):
        hr.Cluster.local(**wrong)


def _endless() -> hr.Graph:
    graph = hr.Graph("endless")
    graph.add(time.sleep, 600)
    return graph
