"""`headrace outputs` and `headrace get`: all kinds of names, formats, sinks, and existing files."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import headrace as hr
from headrace.bus import Bus, BusSettings
from headrace_schemas.streams import LOG
from tests.command_line import said

WAIT = 60.0
NAMES = ["plain", "a/b c", "Größe/2 m – °C*>", "../../up", "x=1"]
Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[hr.Cluster]:
    with hr.Cluster.local(hosts=1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def job(cluster: hr.Cluster) -> hr.Job:
    graph = hr.Graph("shell")
    for number, name in enumerate(NAMES):
        graph.add(np.full, (2, 3), float(number), name=name, metadata={"param": name, "step": number, "even": number % 2 == 0})
    graph.add(dict, a=1, name="no array", metadata={"step": 100})
    graph.add(np.zeros, 50_000, name="held", metadata={"step": 101})
    job = cluster.submit(graph)
    assert job.wait(WAIT) == "done"
    assert len(job.outputs()) == len(NAMES) + 2
    return job


@pytest.fixture
def env(cluster: hr.Cluster) -> dict[str, str]:
    return {"HEADRACE_URL": cluster.url, "HEADRACE_TOKEN": cluster.token}


@pytest.fixture
def headrace(env: dict[str, str], tmp_path: Path) -> Shell:
    return partial(said, env=env, cwd=tmp_path)


@pytest.fixture
def started(env: dict[str, str], tmp_path: Path) -> Shell:
    """As a shell starts it, with arguments that are bytes."""

    def headrace(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "headrace.cli", *arguments]
        return subprocess.run(command, env=os.environ | env, cwd=tmp_path, capture_output=True, text=True, timeout=WAIT, check=False)

    return headrace


def listed(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line)["name"] for line in done.stdout.splitlines()]


def test_outputs_are_listed_and_filtered_by_what_is_typed(headrace: Shell, job: hr.Job) -> None:
    assert listed(headrace("outputs", job.id, "--json")) == [*NAMES, "no array", "held"]
    assert listed(headrace("outputs", job.id, "step=0", "--json")) == ["plain"]
    assert listed(headrace("outputs", job.id, "step=[1,2]", "even=true", "--json")) == [NAMES[2]]
    assert listed(headrace("outputs", f"param={NAMES[2]}", "--json")) == [NAMES[2]]
    assert listed(headrace("outputs", "step=4", "param=x=1", "--json")) == ["x=1"]
    record = json.loads(headrace("outputs", "step=101", "--json").stdout)
    assert (record["dtype"], record["shape"], record["job"], record["metadata"]) == ("float64", [50_000], job.id, {"step": 101})


def test_a_table_shows_what_a_person_looks_for(headrace: Shell, job: hr.Job) -> None:
    shown = headrace("outputs", job.id)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert all(name in shown.stdout for name in NAMES)
    assert "float64 2x3" in shown.stdout
    assert "step=3" in shown.stdout
    none = headrace("outputs", job.id, "step=77")
    assert (none.returncode, none.stdout, none.stderr) == (0, "", "no announced outputs have this metadata\n")
    unknown = headrace("outputs", "nosuchjob")
    assert (unknown.returncode, "knows no job 'nosuchjob'" in unknown.stderr) == (1, True)
    wrong = headrace("outputs", job.id, "step")
    assert (wrong.returncode, "not a KEY=VALUE" in wrong.stderr) == (2, True)


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_outputs_of_any_name_are_got(started: Shell, job: hr.Job, tmp_path: Path, number: int) -> None:
    done = started("get", f"{job.id}/{NAMES[number]}")
    assert (done.returncode, done.stderr) == (0, "")
    (file,) = tmp_path.iterdir()
    assert file.suffix == ".npy"
    assert done.stdout.startswith("wrote ")
    assert (np.load(file) == np.full((2, 3), float(number))).all()
    assert started("get", NAMES[number], "--job", job.id, "-o", "named").returncode == 0
    assert (tmp_path / "named").read_bytes() == file.read_bytes()


def test_the_ending_says_what_a_file_becomes(headrace: Shell, job: hr.Job, tmp_path: Path) -> None:
    assert headrace("get", f"{job.id}/held", "-o", "held.pkl").returncode == 0
    assert pickle.loads((tmp_path / "held.pkl").read_bytes()).shape == (50_000,)
    assert headrace("get", f"{job.id}/no array").returncode == 0
    (plain,) = tmp_path.glob("*.pickle")
    assert pickle.loads(plain.read_bytes()) == {"a": 1}
    wrong = headrace("get", f"{job.id}/no array", "-o", "wrong.npy")
    assert (wrong.returncode, "cannot be written as .npy" in wrong.stderr) == (1, True)
    unknown = headrace("get", f"{job.id}/held", "-o", "held.csv")
    assert (unknown.returncode, ".csv is not a known format: use the extension .npy" in unknown.stderr) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["held.pkl", plain.name]


def test_a_file_that_exists_is_replaced_as_cp_does_and_it_is_said(headrace: Shell, job: hr.Job, tmp_path: Path) -> None:
    file = tmp_path / "out.npy"
    file.write_text("old")
    kept = headrace("get", f"{job.id}/plain", "-o", "out.npy", "--no-clobber")
    assert (kept.returncode, "out.npy exists" in kept.stderr, file.read_text()) == (1, True, "old")
    done = headrace("get", f"{job.id}/plain", "-o", "out.npy")
    assert (done.returncode, done.stdout) == (0, f"replaced out.npy: {file.stat().st_size} bytes\n")
    assert np.load(file).shape == (2, 3)
    nowhere = headrace("get", f"{job.id}/plain", "-o", "no/such/folder/out.npy")
    assert (nowhere.returncode, "Traceback" in nowhere.stderr) == (1, False)


def test_what_cannot_be_got_is_said(headrace: Shell, job: hr.Job) -> None:
    unnamed = headrace("get", "plain")
    assert (unnamed.returncode, "give JOB/NAME" in unnamed.stderr) == (2, True)
    missing = headrace("get", f"{job.id}/nothing")
    assert (missing.returncode, "has no output 'nothing'" in missing.stderr) == (1, True)
    unknown = headrace("get", "nosuchjob/plain")
    assert (unknown.returncode, "job 'nosuchjob' is not in the log" in unknown.stderr) == (1, True)


def test_a_sinks_file_is_copied_also_when_the_log_has_forgotten_the_job(cluster: hr.Cluster, headrace: Shell, tmp_path: Path) -> None:
    graph = hr.Graph("sunk")
    graph.add(np.arange, 100, name="a/b", metadata={"kind": "sunk"})
    sunk = cluster.submit(graph, sink=str(tmp_path / "sink"))
    assert sunk.wait(WAIT) == "done"
    (record,) = sunk.outputs(kind="sunk")
    assert headrace("get", f"{sunk.id}/a/b", "-o", "copy.npy").returncode == 0
    assert (tmp_path / "copy.npy").read_bytes() == Path(record.location.removeprefix("file://")).read_bytes()
    assert headrace("get", f"{sunk.id}/a/b", "-o", "other.pickle").returncode == 0
    assert (pickle.loads((tmp_path / "other.pickle").read_bytes()) == np.arange(100)).all()
    asyncio.run(forget_log(BusSettings(url=cluster.url, token=cluster.token), sunk.id))
    done = headrace("get", f"{sunk.id}/a/b", "-o", "late.npy")
    assert (done.returncode, done.stderr) == (0, "")
    assert (np.load(tmp_path / "late.npy") == np.arange(100)).all()


async def forget_log(settings: BusSettings, job: str) -> None:
    """What age does to the log of a job."""
    async with await Bus.connect(settings, "test") as bus:
        await bus._purge(LOG.name, f"headrace.job.{job}.>")
