"""The files in `observability/` for Prometheus and Grafana work with a real Prometheus on a real cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import headrace as hr
from tests.waiting import eventually

OBSERVABILITY = Path(__file__).parents[2] / "observability"
RULES = OBSERVABILITY / "prometheus" / "rules" / "headrace.yml"
DASHBOARD = OBSERVABILITY / "grafana" / "dashboards" / "headrace.json"
SCRAPE_SECONDS = 0.25
RATE_INTERVAL = "20s"
WAIT = 30.0
CAPACITY = 16 << 20
FIELDS = 48
"""Of a MiB each."""

until = partial(eventually, every=SCRAPE_SECONDS / 5)
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")


# --- a run with something of everything ------------------------------------------------------------------------------


def field(number: int) -> np.ndarray:
    return np.full(1 << 17, number, dtype=np.float64)


def between(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left + right) / 2


def wrong() -> None:
    raise ValueError("this job is to fail")


def crash() -> None:
    os._exit(3)


def everything(cluster: hr.Cluster) -> None:
    """Jobs that fail, by an exception and by the end of their runner; and a ring, which two hosts cannot divide without transfers, with
    outputs larger than the stores."""
    for function in (wrong, crash):
        failing = hr.Graph(function.__name__)
        failing.add(function)
        with pytest.raises(hr.TaskFailed):
            cluster.submit(failing).results(timeout=WAIT)
    ring = hr.Graph("ring")
    fields = [ring.add(field, number) for number in range(FIELDS)]
    for place in range(FIELDS):
        ring.output(ring.add(between, fields[place - 1], fields[place], name=f"between {place}"))
    found = cluster.submit(ring).results(timeout=WAIT)
    assert [float(found[f"between {place}"][0]) for place in range(1, FIELDS)] == [place - 0.5 for place in range(1, FIELDS)]


# --- a Prometheus that reads it --------------------------------------------------------------------------------------


class Prometheus:
    """A server with the configuration of `observability/`, but targets from a list instead of DNS, and scrapes that follow faster."""

    def __init__(self, folder: Path, targets: dict[str, str]) -> None:
        config = yaml.safe_load((OBSERVABILITY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": f"{SCRAPE_SECONDS * 1000:.0f}ms", "evaluation_interval": f"{SCRAPE_SECONDS * 1000:.0f}ms"}
        config["rule_files"] = [str(OBSERVABILITY / "prometheus" / pattern) for pattern in config["rule_files"]]
        for job in config["scrape_configs"]:
            del job["dns_sd_configs"], job["relabel_configs"]
            job["static_configs"] = [{"targets": [address], "labels": {"service": name}} for address, name in targets.items()]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        address = f"127.0.0.1:{_free_port()}"
        self.url = f"http://{address}"
        flags = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
        self.process = subprocess.Popen(["prometheus", *flags], stdout=subprocess.DEVNULL, stderr=(folder / "log").open("wb"))

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples that an expression gives. Fails on one that is not valid."""
        answer = self._ask("/api/v1/query", query=expression)
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        return list(answer["data"]["result"])

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._ask("/api/v1/rules")["data"]["groups"] for rule in group["rules"]]

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=WAIT) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _ask(self, path: str, **arguments: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(arguments)}", timeout=WAIT) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            return dict(json.load(error))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hr.Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADRACE_METRICS", "127.0.0.1:0")
        patch.setenv("HEADRACE_SPILL_DIR", str(tmp_path_factory.mktemp("spill")))
        with hr.Cluster.local(hosts=2, capacity=CAPACITY) as cluster:
            yield cluster


@pytest.fixture(scope="module")
def prometheus(cluster: hr.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    if shutil.which("prometheus") is None:
        pytest.skip("there is no Prometheus")
    addresses = cluster.metrics_addresses()
    targets = {address: "worker" if name in cluster.hosts else name for name, address in addresses.items()}
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), targets)
    try:
        until(prometheus.ready)
        until(lambda: len(prometheus.query('up{job="headrace"} == 1')) == 5)
        everything(cluster)
        yield prometheus
    finally:
        prometheus.process.terminate()
        prometheus.process.wait()


# --- the tests ---------------------------------------------------------------------------------------------------------


def test_every_service_of_a_local_cluster_tells_where_it_answers(cluster: hr.Cluster) -> None:
    addresses = cluster.metrics_addresses()
    assert set(addresses) == {"controller", "scheduler", "publisher", "host-0", "host-1"}
    assert len(set(addresses.values())) == 5


def test_a_cluster_without_metrics_serves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_METRICS", raising=False)
    with hr.Cluster.local(hosts=1) as cluster:
        assert cluster.metrics_addresses() == {}


@needs_promtool
def test_metrics_follow_the_conventions(cluster: hr.Cluster) -> None:
    graph = hr.Graph()
    graph.add(field, 1)
    cluster.submit(graph).results(timeout=WAIT)
    for name, address in cluster.metrics_addresses().items():
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=WAIT) as answer:
            told = answer.read()
        checked = subprocess.run(["promtool", "check", "metrics"], input=told, capture_output=True)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, b""), name


@needs_promtool
@pytest.mark.parametrize("arguments", [("check", "rules", RULES.name), ("test", "rules", f"../tests/{RULES.name}")], ids=["check", "test"])
def test_alert_rules(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=RULES.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_configuration_of_prometheus() -> None:
    config = OBSERVABILITY / "prometheus" / "prometheus.yml"
    done = subprocess.run(["promtool", "check", "config", config], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS: 1 rule files found" in done.stdout


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard that show something."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def test_every_panel_shows_something(prometheus: Prometheus) -> None:
    missing = {}

    def complete() -> bool:
        missing.clear()
        for panel in panels():
            for target in panel["targets"]:
                expression = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
                if not prometheus.query(expression):
                    missing[panel["title"]] = expression
        return not missing

    try:
        until(complete)
    except AssertionError:
        raise AssertionError(f"these show nothing: {missing}") from None


@pytest.mark.parametrize(
    "expression",
    [
        f'sum(headrace_task_seconds_count{{function="field"}}) >= {FIELDS}',
        'sum(headrace_task_failures_total{reason="raised"}) > 0',
        'sum(headrace_job_seconds_count{state="failed"}) == 2',
        'sum(headrace_task_failures_total{reason="runner_died"}) == sum(headrace_runner_deaths_total) > 0',
        "sum(headrace_tasks_needed_again_total) > 0",
        "sum(headrace_spilled_bytes_total) > 0",
        "sum(headrace_purged_datasets_total) > 0",
        f"sum(headrace_outputs_published_total) >= {FIELDS}",
        f'sum(headrace_transfer_bytes_total{{direction="received"}}) > {1 << 20}',
        'sum(headrace_transfer_seconds_count{direction="sent"}) > 0',
        'min(headrace_store_high_water_bytes) > 0 and min(headrace_log_lag_seconds_count{service="worker"}) > 0',
        f"sum(headrace_planning_seconds_sum) > 0 and sum(headrace_planned_tasks_total) == {2 * FIELDS}",
        "count(sum by (service) (headrace_leading) == 1) == 3",
        'ALERTS{alertname="HeadraceTasksFailing", alertstate="firing", reason="raised"}',
    ],
)
def test_what_happened_is_seen(prometheus: Prometheus, expression: str) -> None:
    assert until(lambda: prometheus.query(expression))


def test_every_alert_can_be_evaluated(prometheus: Prometheus) -> None:
    rules = until(lambda: (rules := prometheus.rules()) and all(rule["lastEvaluation"] > "0001-02" for rule in rules) and rules)
    assert {rule["health"] for rule in rules} == {"ok"}, [rule.get("lastError") for rule in rules]
    known = {name for names in _metrics(prometheus) for name in names}
    for rule in rules:
        used = set(re.findall(r"\bheadrace_\w+", rule["query"]))
        assert used <= known, f"{rule['name']} is about metrics that there are not: {used - known}"
        assert set(rule["annotations"]) == {"summary", "action"}


def _metrics(prometheus: Prometheus) -> Iterator[set[str]]:
    for sample in prometheus.query('count by (__name__) ({__name__=~"headrace_.+"})'):
        yield {sample["metric"]["__name__"]}
