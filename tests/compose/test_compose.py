"""The deployment of docker-compose.yml, built and run for real: `make test-compose`.

Images of others that cannot be pulled have substitutes in `substitutes/`. The tests share one deployment and run in their order.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import headrace as hr
from tests.compose.engine import Unavailable, base_image, build, compose_command, engine, pull, run
from tests.waiting import eventually

CHECKOUT = Path(__file__).resolve().parents[2]
SUBSTITUTES = Path(__file__).parent / "substitutes"
IMAGE = "headrace:test"
TOKEN = "a-token-of-the-test"
FOREIGN = ("nats", "prometheus", "grafana", "otel-collector")
SERVICES = {"controller", "scheduler", "publisher", "worker"}
until = partial(eventually, every=0.2)

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Deployment:
    """What was put up. url: of NATS, from outside."""

    def __init__(self, folder: Path, substitutes: list[str]) -> None:
        ports = {name: free_port() for name in ("NATS_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")}
        self.url = f"nats://127.0.0.1:{ports['NATS_PORT']}"
        self.prometheus = f"http://127.0.0.1:{ports['PROMETHEUS_PORT']}"
        self._env = {key: value for key, value in os.environ.items() if not key.startswith("HEADRACE_")}
        settings = (CHECKOUT / ".env.example").read_text().replace("change-me", TOKEN)
        more = {**ports, "HEADRACE_IMAGE": IMAGE, "WORKER_MEMORY": "1g", "WORKER_SHM": "512m", "PROMETHEUS": shutil.which("prometheus")}
        modules = folder / "modules"
        modules.mkdir(exist_ok=True)
        (modules / "only_there.py").write_text("NUMBER = 41\n")
        more["MODULES"] = str(modules)
        if "otel-collector" in substitutes:
            more["OTEL_EXPORTER_OTLP_ENDPOINT"] = ""
        env_file = folder / "env"
        env_file.write_text(settings + "".join(f"{key}={value}\n" for key, value in more.items()))
        files = [CHECKOUT / "docker-compose.yml", *(SUBSTITUTES / f"{name}.yml" for name in substitutes)]
        flags = [flag for file in files for flag in ("-f", str(file))]
        self._command = [*compose_command(), "-p", f"headrace-test-{os.getpid()}", "--env-file", str(env_file), *flags]

    def compose(self, *arguments: str) -> str:
        return run(*self._command, *arguments, env=self._env)

    def up(self, workers: int) -> None:
        self.compose("up", "-d", "--no-build", "--scale", f"worker={workers}")

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """What docker says of the deployment's containers, also of those that ended."""
        ids = self.compose("ps", "-q", *([service] if service else [])).split()
        return list(json.loads(run("docker", "inspect", *ids))) if ids else []

    def hosts(self) -> tuple[str, ...]:
        """The names of the workers that the cluster has."""
        with self.connect() as cluster:
            return tuple(cluster.hosts)

    def connect(self) -> hr.Cluster:
        return hr.Cluster.connect(self.url, token=TOKEN)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Prometheus' answer."""
        with contextlib.suppress(OSError):
            asked = f"{self.prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
            with urllib.request.urlopen(asked, timeout=5) as answer:
                return list(json.load(answer)["data"]["result"])
        return []


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("compose")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(engine(folder))
            base_image(folder)
            images = dict(re.findall(r"^  (\S+):\n    image: (\S+)", (CHECKOUT / "docker-compose.yml").read_text(), re.MULTILINE))
            deployment = Deployment(folder, [name for name in FOREIGN if not pull(images[name])])
        except Unavailable as reason:
            pytest.skip(str(reason))
        build(CHECKOUT, IMAGE)
        stack.callback(deployment.compose, "down", "-v", "--remove-orphans")
        deployment.up(workers=2)
        yield deployment


def where() -> str:
    """The container that this task runs in."""
    return socket.gethostname()


def nap(seconds: float) -> str:
    time.sleep(seconds)
    return socket.gethostname()


def graph_of(function: Callable[..., Any], count: int, *arguments: Any) -> hr.Graph:
    graph = hr.Graph(function.__name__)
    for _ in range(count):
        graph.add(function, *arguments)
    return graph


def test_everything_becomes_healthy(deployment: Deployment) -> None:
    def healthy() -> bool:
        states = [each["State"].get("Health", {}).get("Status") for name in SERVICES for each in deployment.containers(name)]
        return len(states) == 5 and set(states) == {"healthy"}

    until(healthy)


def test_the_services_have_no_rights(deployment: Deployment) -> None:
    for container in deployment.containers("worker"):
        assert run("docker", "exec", container["Id"], "id", "-u").strip() == "10001"


def test_a_worker_keeps_within_its_memory(deployment: Deployment) -> None:
    code = "from headrace.worker.settings import Settings; print(Settings(host='any').resolved_capacity_bytes())"
    found = int(run("docker", "exec", deployment.containers("worker")[0]["Id"], "python3", "-c", code))
    assert 0.9 * (256 << 20) < found <= 256 << 20, "half of the 512 MB of shared memory"


def test_the_example_from_outside(deployment: Deployment) -> None:
    environment = {"HEADRACE_URL": deployment.url, "HEADRACE_TOKEN": TOKEN}
    printed = run(sys.executable, "-m", "headrace.cli", "run", f"{CHECKOUT}/examples/ensemble.py:build_graph", env=environment)
    assert "mean-00" in printed
    assert "anomaly" in printed


def test_tasks_import_from_the_folder_of_modules_and_write_products(deployment: Deployment) -> None:
    graph = hr.Graph("products")
    graph.add(eval, "__import__('only_there').NUMBER", name="number")
    with deployment.connect() as cluster:
        job = cluster.submit(graph, sink="/products/{job}/{name}.pickle")
        job.wait(60)
    reading = f"import pickle; print(pickle.load(open('/products/{job.id}/number.pickle', 'rb')))"
    for service in ("worker", "publisher"):
        assert run("docker", "exec", deployment.containers(service)[0]["Id"], "python3", "-c", reading).strip() == "41"


def test_a_worker_is_killed_and_its_work_is_done_by_others(deployment: Deployment) -> None:
    cloudpickle_by_value()
    with deployment.connect() as cluster:
        job = cluster.submit(graph_of(nap, 60, 0.1))
        until(lambda: job.status().tasks["done"] > 4)
        victim = deployment.containers("worker")[0]
        run("docker", "kill", victim["Id"])
        ran_on = set(job.results(timeout=60).values())
    assert len(ran_on) >= 1
    assert ran_on - {victim["Config"]["Hostname"]}, "the other one did the rest"


def test_scaled_up_workers_take_part(deployment: Deployment) -> None:
    cloudpickle_by_value()
    deployment.up(workers=4)
    until(lambda: len(deployment.hosts()) == 4)
    with deployment.connect() as cluster:
        ran_on = set(cluster.submit(graph_of(nap, 80, 0.05)).results(timeout=60).values())
    assert ran_on == {container["Config"]["Hostname"] for container in deployment.containers("worker")}


def test_prometheus_reads_every_service(deployment: Deployment) -> None:
    if not deployment.containers("prometheus"):
        pytest.skip("there is no Prometheus to be had")
    found = until(lambda: len(up := deployment.query('up{job="headrace"} == 1')) == 7 and up)
    assert {each["metric"]["service"] for each in found} == SERVICES
    for service in ("controller", "scheduler", "publisher"):
        assert until(lambda service=service: deployment.query(f'sum(headrace_leading{{service="{service}"}}) == 1'))
    assert until(lambda: deployment.query("max(headrace_hosts) == count(headrace_store_capacity_bytes)"))


def test_a_stop_is_orderly(deployment: Deployment) -> None:
    deployment.compose("stop", "worker", "controller", "scheduler", "publisher")
    codes = {each["Name"]: each["State"]["ExitCode"] for name in SERVICES for each in deployment.containers(name)}
    assert set(codes.values()) == {0}, codes


def cloudpickle_by_value() -> None:
    """The functions of this module travel with their code: the containers have no such module."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])


def test_the_command_line_of_the_image(deployment: Deployment) -> None:
    assert subprocess.run(["docker", "run", "--rm", IMAGE, "version"], capture_output=True, text=True).stdout.startswith("headrace ")
