"""Inputs that cannot work end soon, in one error that says what was wrong, where, and what to do; the cluster stays usable."""

from __future__ import annotations

import asyncio
import linecache
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import headrace as hr
from headrace.bus import Bus, BusSettings, EmbeddedServer
from headrace_schemas import SCHEMA_VERSION, GraphSource, HostEntry, Submitted, encode, streams, subjects
from tests.waiting import eventually

SOON = 1.0
"""Seconds within which a user hears of it, on top of what the machine needs for what else it does."""
SLACK = 4.0
WAIT = 30.0


@pytest.fixture(scope="module")
def shared() -> Iterator[hr.Cluster]:
    with hr.Cluster.local(hosts=2) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: hr.Cluster) -> Iterator[hr.Cluster]:
    """A cluster that every test has to leave usable."""
    yield shared
    graph = hr.Graph("afterwards")
    graph.add(pow, 2, 5, name="power")
    assert shared.submit(graph).results(WAIT) == {"power": 32}


def failure(cluster: hr.Cluster, function: Callable[..., Any], *args: Any, name: str = "the task", **kwargs: Any) -> hr.TaskFailed:
    """The error of a job with one task."""
    graph = hr.Graph("fails")
    graph.add(function, *args, name=name, **kwargs)
    job = cluster.submit(graph)
    start = time.monotonic()
    with pytest.raises(hr.TaskFailed) as caught:
        job.results(WAIT)
    assert time.monotonic() - start < SOON + SLACK
    assert caught.value.task == name
    assert repr(name) in str(caught.value)
    return caught.value


def newer_services_write(server: EmbeddedServer, subject: str, kind: str = "ended") -> None:
    """A message into the log, as a release would that comes after this one."""

    async def write() -> None:
        async with await Bus.connect(server.settings, "newer services") as bus:
            await bus.ensure_streams()
            await bus.ensure_buckets()
            await bus.publish(subject, b'{"kind":"%s","v":%d,"at":0,"term":1}' % (kind.encode(), SCHEMA_VERSION + 1))

    asyncio.run(write())


def at_the_command_line(server: EmbeddedServer, *command: str) -> subprocess.CompletedProcess[str]:
    """A command on this server, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "headrace.cli", *command],
        env={**os.environ, **server.settings.to_env()},
        capture_output=True,
        text=True,
        timeout=WAIT / 2,
    )


def same(value: Any) -> Any:
    return value


# --- known before anything is sent -----------------------------------------------------------------------------------


def test_a_cycle() -> None:
    graph = hr.Graph("cycle")
    inputs: list[Any] = []
    first = graph.add(sum, inputs, name="first")
    inputs.append(graph.add(same, first, name="second"))
    with pytest.raises(hr.HeadraceError, match=r"task 'first' was changed after `add`.*no cycles"):
        hr_freeze(graph)


def hr_freeze(graph: hr.Graph) -> object:
    from headrace.graph.freezing import freeze

    return freeze(graph)


def test_a_node_of_another_graph() -> None:
    node = hr.Graph("one").add(same, 1, name="mine")
    with pytest.raises(hr.GraphError, match=r"task 'mine' belongs to graph 'one', not to 'two': add it to this graph too"):
        hr.Graph("two").add(same, node, name="yours")


def test_duplicate_names() -> None:
    graph = hr.Graph("twice")
    graph.add(same, 1, name="again")
    with pytest.raises(hr.GraphError, match="'again'"):
        graph.add(same, 2, name="again")


def test_an_output_that_does_not_exist(cluster: hr.Cluster) -> None:
    graph = hr.Graph("three")
    steps = graph.add(same, (1, 2, 3), outputs=3, name="steps")
    with pytest.raises((hr.GraphError, IndexError), match=r"'steps'.*3"):
        graph.output(steps[3])
    job = cluster.submit(graph)
    with pytest.raises(KeyError, match="nothing of that name"):
        job.result("nothing of that name", WAIT)
    job.results(WAIT)


def test_an_empty_graph(cluster: hr.Cluster) -> None:
    with pytest.raises(hr.GraphError, match="'nothing' is empty: add a task"):
        cluster.submit(hr.Graph("nothing"))


def test_a_function_that_cannot_be_pickled(cluster: hr.Cluster) -> None:
    lock = threading.Lock()
    graph = hr.Graph("locked")
    graph.add(lambda: lock, name="locks")
    with pytest.raises(hr.NotPicklable, match=r"(?s)task 'locks' cannot be pickled.*locks, connections"):
        cluster.submit(graph)


def test_an_argument_that_cannot_be_pickled(cluster: hr.Cluster) -> None:
    graph = hr.Graph("locked")
    graph.add(same, {"lock": threading.Lock()}, name="locks")
    with pytest.raises(hr.NotPicklable, match=r"argument 0 .* of task 'locks' cannot be pickled"):
        cluster.submit(graph)


# --- known when the task runs ----------------------------------------------------------------------------------------


def test_a_result_that_cannot_be_pickled(cluster: hr.Cluster) -> None:
    error = failure(cluster, threading.Lock)
    assert error.reason == "unpicklable"
    assert "lock" in str(error)


def raises(value: Any) -> Any:
    return np.linalg.inv(np.zeros((2, 2)))[value]


def test_a_task_that_raises(cluster: hr.Cluster) -> None:
    graph = hr.Graph("raises")
    graph.add(raises, graph.add(same, 1, name="input"), name="inverts")
    with pytest.raises(hr.TaskFailed, match=r"task 'inverts' failed: .*LinAlgError: Singular matrix; its inputs: input") as caught:
        cluster.submit(graph).results(WAIT)
    assert isinstance(caught.value.__cause__, np.linalg.LinAlgError)
    assert "in raises" in caught.value.remote_traceback
    assert "return np.linalg.inv" in caught.value.remote_traceback


class NotAlike(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} is not {second}")


def raises_what_cannot_be_pickled() -> None:
    raise NotAlike(1, 2)


@pytest.mark.parametrize("file", ["/no/such/script.py", "<ipython-input-1-5eed>"])
def test_the_traceback_of_a_script_or_a_cell_has_file_line_and_source(cluster: hr.Cluster, file: str) -> None:
    text = "def inner(x):\n    return x / 0\n\ndef outer():\n    return inner(3)\n"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)  # as IPython does
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, file, "exec"), scope)
    trace = failure(cluster, scope["outer"]).remote_traceback
    assert f'File "{file}", line 5, in outer\n    return inner(3)' in trace
    assert f'File "{file}", line 2, in inner\n    return x / 0' in trace


def test_an_exception_that_cannot_be_pickled(cluster: hr.Cluster) -> None:
    error = failure(cluster, raises_what_cannot_be_pickled)
    assert "NotAlike: 1 is not 2" in str(error)
    assert "raises_what_cannot_be_pickled" in error.remote_traceback


def counts(n: int) -> Iterator[int]:
    yield from range(n)


@pytest.mark.parametrize(("n", "what"), [(2, "yielded only 2"), (4, "yielded more")])
def test_a_generator_that_yields_too_few_or_too_many(cluster: hr.Cluster, n: int, what: str) -> None:
    error = failure(cluster, counts, n, outputs=3)
    assert error.reason == "bad_output"
    assert what in str(error)
    assert "outputs=3" in str(error)


def imports() -> None:
    import there_is_no_such_module  # noqa: F401


def test_an_import_that_fails_in_the_runner(cluster: hr.Cluster) -> None:
    error = failure(cluster, imports)
    assert isinstance(error.__cause__, ModuleNotFoundError)
    assert "there_is_no_such_module" in str(error)


def test_a_module_that_exists_only_on_the_client(tmp_path: Path, cluster: hr.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("def f():\n    return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here  # type: ignore[import-not-found]

    error = failure(cluster, only_here.f)
    assert error.reason == "import_failed"
    assert "only_here" in str(error)
    assert "install" in str(error).lower() or "PYTHONPATH" in str(error)


def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_runner_that_dies_on_a_task_every_time(cluster: hr.Cluster) -> None:
    error = failure(cluster, dies)
    assert error.reason == "runner_died"
    assert "SIGKILL" in str(error) or "signal 9" in str(error)


def test_a_timeout(cluster: hr.Cluster) -> None:
    graph = hr.Graph("slow")
    graph.add(time.sleep, 60, name="sleeps")
    job = cluster.submit(graph)
    start = time.monotonic()
    with pytest.raises(hr.JobTimeout, match=r"did not end within 0\.2 s and continues: wait again, or cancel it"):
        job.results(0.2)
    assert time.monotonic() - start < SOON + SLACK
    job.cancel("enough")
    with pytest.raises(hr.JobCancelled, match="enough"):
        job.results(WAIT)


def test_a_task_that_needs_what_no_host_has(cluster: hr.Cluster) -> None:
    error = failure(cluster, hr.task(same, resources={"gpu": 1}), 1)
    assert error.reason == "no_host"
    assert "gpu=1, which no host has" in str(error)
    assert "headrace worker --resources gpu=1" in str(error)


# --- known when one connects -----------------------------------------------------------------------------------------


def test_nats_that_cannot_be_reached() -> None:
    start = time.monotonic()
    with pytest.raises(hr.NatsUnreachable, match=r"nats://127\.0\.0\.1:1"):
        hr.Cluster.connect("nats://127.0.0.1:1", connect_timeout=0.5)
    assert time.monotonic() - start < SOON + SLACK


def test_nats_without_jetstream(tmp_path: Path) -> None:
    from headrace.bus.server import server_binary

    ports = tmp_path / "ports"
    ports.mkdir()
    command = [server_binary(), "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(ports)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            while not (found := list(ports.glob("*.ports"))) or not found[0].read_text():
                assert server.poll() is None
                time.sleep(0.01)
            url = msgspec.json.decode(found[0].read_bytes())["nats"][0]
            with pytest.raises(hr.NoJetStream, match="start it with -js"):
                hr.Cluster.connect(url)
        finally:
            server.kill()


def test_wrong_credentials(shared: hr.Cluster) -> None:
    with pytest.raises(hr.WrongCredentials):
        hr.Cluster.connect(shared.url, token="wrong")


def test_a_server_without_a_cluster(nats_server: EmbeddedServer) -> None:
    with pytest.raises(hr.ClusterFailed):
        hr.Cluster.connect(nats_server.url, token=nats_server.token)


def test_a_client_of_a_newer_schema(cluster: hr.Cluster) -> None:
    """Its request is refused with a reason that says who has to be upgraded, and the services go on."""

    async def submit() -> str:
        async with await Bus.connect(BusSettings(url=cluster.url, token=cluster.token), "a newer client") as bus:
            message = msgspec.structs.replace(Submitted(job="newerclient", graph=GraphSource()), v=SCHEMA_VERSION + 1)
            await bus.publish(subjects.submitted("newerclient"), encode(message))
            bucket = bus.kv(streams.JOBS.name)
            async with asyncio.timeout(WAIT):
                while (entry := await bucket.get("newerclient")) is None or b'"failed"' not in entry.value:
                    await asyncio.sleep(0.01)
            return entry.value.decode()

    said = asyncio.run(submit())
    assert f"version {SCHEMA_VERSION + 1}" in said
    assert "upgrade" in said


def test_services_of_a_newer_schema(nats_server: EmbeddedServer) -> None:
    """A client that reads what it cannot know says so."""

    async def pretend() -> None:
        async with await Bus.connect(nats_server.settings, "newer services") as bus:
            await bus.ensure_streams()
            await bus.ensure_buckets()
            entry = HostEntry(host="newer", epoch=1, address="127.0.0.1:1", runners=1, capacity=1, v=SCHEMA_VERSION + 1)
            await bus.kv(streams.HOSTS.name).create("newer", encode(entry), ttl=30)

    asyncio.run(pretend())
    newer_services_write(nats_server, subjects.host("newer"), "host_joined")
    with pytest.raises(hr.HeadraceError, match=rf"schema version {SCHEMA_VERSION + 1}.*upgrade this side"):
        hr.Cluster.connect(nats_server.url, token=nats_server.token)


def test_a_job_of_a_newer_schema_is_not_taken_for_none(nats_server: EmbeddedServer) -> None:
    newer_services_write(nats_server, subjects.state("newerjob"))
    with hr.Cluster.connect(nats_server.url, token=nats_server.token) as cluster:
        with pytest.raises(hr.ClusterFailed, match=rf"schema version {SCHEMA_VERSION + 1}.*upgrade this side"):
            cluster.job("newerjob")
        with pytest.raises(hr.NoSuchJob):
            cluster.job("olderjob")


def test_what_newer_services_announce_is_told_of_as_of_a_cluster_that_cannot_be_read(nats_server: EmbeddedServer) -> None:
    """The catalogue, and a job that is followed while its services are upgraded."""
    told = rf"schema version {SCHEMA_VERSION + 1}.*upgrade this side"

    newer_services_write(nats_server, subjects.output("otherjob"))
    with hr.Cluster.connect(nats_server.url, token=nats_server.token) as cluster:
        with pytest.raises(hr.ClusterFailed, match=told):
            eventually(cluster.outputs)  # which has it a moment after the log
        graph = hr.Graph("one")
        graph.add(same, 1)
        job = cluster.submit(graph)
        newer_services_write(nats_server, subjects.state(job.id))
        with pytest.raises(hr.ClusterFailed, match=told):
            job.results(WAIT)


@pytest.mark.parametrize("service", ["controller", "scheduler"])
def test_a_log_of_a_newer_schema_ends_a_service_with_one_line(nats_server: EmbeddedServer, service: str) -> None:
    newer_services_write(nats_server, subjects.host("newer"), "host_joined")
    done = at_the_command_line(nats_server, service)
    assert done.returncode == 1
    [said] = done.stderr.splitlines()
    assert "upgrade this side" in said


@pytest.mark.parametrize("command", ["replay", "tail", "watch"])
def test_a_log_of_a_newer_schema_at_the_command_line(nats_server: EmbeddedServer, command: str) -> None:
    """It says at once who has to be upgraded, and does not wait for a log that it cannot read to the end."""
    newer_services_write(nats_server, subjects.state("newerjob"))
    done = at_the_command_line(nats_server, command, "newerjob")
    assert done.returncode == 1
    [said] = done.stderr.splitlines()
    assert said.startswith("headrace: message 1 of the log")
    assert said.endswith("upgrade this side")


# --- the errors themselves ---------------------------------------------------------------------------------------------


def test_every_error_is_documented_and_can_be_caught_as_one() -> None:
    errors = [each for name in dir(hr) if isinstance(each := getattr(hr, name), type) and issubclass(each, Exception)]
    assert len(errors) > 10
    for error in errors:
        assert issubclass(error, hr.HeadraceError)
        assert error.__doc__


def test_errors_survive_pickling() -> None:
    """They are raised in tasks too, and travel."""
    error = pickle.loads(pickle.dumps(hr.TaskFailed("a", "b", ("c",), "d", "raised")))
    assert (error.task, error.error, error.inputs, error.remote_traceback) == ("a", "b", ("c",), "d")


def test_the_command_line_says_it_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli", "jobs"],
        env={**os.environ, "HEADRACE_URL": "nats://127.0.0.1:1", "HEADRACE_CONNECT_TIMEOUT": "0.3"},
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
