"""Tasks that need something of their host, on real local clusters."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

import headrace as hr
from headrace.bus import BusSettings
from headrace.cli.replaying import replay_job
from headrace.errors import SettingsError
from tests.waiting import wait_for

WAIT = 60.0


def stay(folder: str, name: int, seconds: float) -> int:
    """Writes down when it began and ended."""
    begun = time.monotonic()
    time.sleep(seconds)
    Path(folder, f"{name}").write_text(f"{begun} {time.monotonic()}")
    return name


def meet(mine: str, theirs: str) -> str:
    """Ends once a task of the other kind has begun, too."""
    Path(mine).touch()
    return wait_for(theirs)


def total(*numbers: int) -> int:
    return sum(numbers)


def spans(folder: Path) -> list[tuple[float, float]]:
    """When tasks ran, in the order in which they began."""
    return sorted((float(begun), float(ended)) for begun, ended in (path.read_text().split() for path in folder.iterdir()))


def test_tasks_that_need_a_gpu_never_run_at_once_on_a_host_that_has_one(tmp_path: Path) -> None:
    on_gpu = hr.task(stay, resources={"gpu": 1})
    with hr.Cluster.local(hosts=1, runners=2, resources={"gpu": 1}) as cluster:
        graph = hr.Graph("gpus")
        needy = [graph.add(on_gpu, str(tmp_path), k, 0.05) for k in range(6)]
        graph.output(graph.add(total, *needy))
        assert cluster.submit(graph).results(timeout=WAIT)["total-6"] == 15
    times = spans(tmp_path)
    assert len(times) == 6
    assert all(before[1] <= after[0] for before, after in pairwise(times))


def test_what_needs_none_runs_meanwhile(tmp_path: Path) -> None:
    needy, free = str(tmp_path / "needy"), str(tmp_path / "free")
    with hr.Cluster.local(hosts=1, runners=2, resources={"gpu": 1}) as cluster:
        first = [hr.delayed(meet, resources={"gpu": 1})(needy, free) for _ in range(3)]
        others = [hr.delayed(meet)(free, needy) for _ in range(3)]
        assert cluster.compute([*first, *others], timeout=WAIT) == [free] * 3 + [needy] * 3


def test_a_need_that_no_host_has_fails_soon_and_the_cluster_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with hr.Cluster.local(hosts=2, runners=1, resources={"gpu": 1}) as cluster:
        graph = hr.Graph("too much")
        graph.add(hr.task(total, resources={"gpu": 2}), 1, 2, name="on two gpus")
        began = time.monotonic()
        job = cluster.submit(graph)
        with pytest.raises(hr.TaskFailed, match=r"(?s)'on two gpus'.*no host.*gpu=2.*host-0, host-1: gpu=1.*--resources gpu=2") as caught:
            job.results(timeout=WAIT)
        assert time.monotonic() - began < 5.0, "HEADRACE_HOST_GRACE is 10 s"
        assert caught.value.reason == "no_host"
        assert cluster.compute(hr.delayed(total, resources={"gpu": 1})(1, 2), timeout=WAIT) == 3
        assert replay_job(job.id, BusSettings(url=cluster.url, token=cluster.token), checked=True, as_json=False) == 0
    assert "check: 0 differences" in capsys.readouterr().err


def test_resources_of_a_cluster_are_checked() -> None:
    with pytest.raises(SettingsError, match="'gpu' of a local cluster's hosts has the amount -1"):
        hr.Cluster.local(resources={"gpu": -1})
