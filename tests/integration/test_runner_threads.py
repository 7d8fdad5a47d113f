"""Threads of the numerical libraries in real runners, and the cores that a machine says to have."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import headrace as hr
from headrace.worker.threads import VARIABLES, ThreadSettings, available_cores, cpu_quota, loaded_threads, share

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="which libraries are loaded is read from /proc")


def threads_of_blas() -> tuple[dict[str, int], dict[str, str | None]]:
    """In a runner: what the libraries use after they were used, and the variables."""
    field = np.ones((300, 300))
    (field @ field).sum()
    return loaded_threads(), {variable: os.environ.get(variable) for variable in VARIABLES}


def in_a_cluster(hosts: int, runners: int) -> tuple[set[int], set[str | None]]:
    graph = hr.Graph("threads")
    node = graph.add(threads_of_blas)
    with hr.Cluster.local(hosts=hosts, runners=runners) as cluster:
        found, variables = cluster.compute(node)
    return set(found.values()), set(variables.values())


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for variable in (*VARIABLES, ThreadSettings.VARIABLES["runner_threads"]):
        monkeypatch.delenv(variable, raising=False)
    return monkeypatch


@pytest.mark.parametrize(("hosts", "runners"), [(1, 1), (2, 1), (1, 3)])
def test_runners_share_the_cores_of_the_machine(unset: pytest.MonkeyPatch, hosts: int, runners: int) -> None:
    expected = share(available_cores(), hosts * runners)
    assert in_a_cluster(hosts, runners) == ({expected}, {str(expected)})


def test_who_asks_for_more_threads_gets_them(unset: pytest.MonkeyPatch) -> None:
    unset.setenv(ThreadSettings.VARIABLES["runner_threads"], "3")
    assert in_a_cluster(1, 2) == ({3}, {"3"})


def test_what_the_user_set_for_openmp_goes_for_blas_too(unset: pytest.MonkeyPatch) -> None:
    unset.setenv("OMP_NUM_THREADS", "2")
    assert in_a_cluster(1, 2) == ({2}, {"2"})


FORK = """
import os
import numpy as np
from headrace.worker.threads import loaded_threads, set_variables, tell_loaded
field = np.ones((300, 300))
field @ field
before = set(loaded_threads().values())
for variable in [name for name in os.environ if name.endswith("_NUM_THREADS")]:
    del os.environ[variable]
os.environ["HEADRACE_RUNNER_THREADS"] = "1"
set_variables(1)
read, write = os.pipe()
if not os.fork():
    tell_loaded()
    field @ field
    os.write(write, repr((before, set(loaded_threads().values()))).encode())
    os._exit(0)
print(os.read(read, 1000).decode())
"""


def test_a_library_that_was_loaded_with_more_threads_is_told() -> None:
    """As a runner is, which is forked from a process that has numpy."""
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", FORK], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == repr(({2}, {1}))


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/", {}, math.inf),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000", "cpu.max": "400000 100000"}, 1.5),
        ("0::/outside", {"cpu.max": "50000 100000"}, 0.5),
        ("4:cpu,cpuacct:/a\n0::/", {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000"}, 3.0),
        ("4:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, math.inf),
        ("4:cpuset:/a", {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000"}, math.inf),
    ],
)
def test_the_least_quota_of_the_control_groups_counts(tmp_path: Path, groups: str, files: dict[str, str], cores: float) -> None:
    (tmp_path / "groups").write_text(groups)
    for name, text in files.items():
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert cpu_quota(tmp_path / "groups", tmp_path / "root") == cores


def test_no_control_groups_are_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "none", tmp_path) == math.inf
