"""Outputs in sinks, on a real cluster: written, committed once, read back; and what becomes of them when something breaks."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import psutil
import pytest
import xarray as xr

import headrace as hr
from tests.waiting import eventually, wait_for

WAIT = 60.0


def array(n: int) -> np.ndarray:
    return np.arange(float(n))


def total(*arrays: np.ndarray) -> float:
    return float(sum(a.sum() for a in arrays))


def frame() -> pd.DataFrame:
    return pd.DataFrame({"t": [1.5, 2.5]}, index=pd.Index([7, 9], name="step"))


def field() -> xr.DataArray:
    return xr.DataArray(np.ones((3, 4)), dims=("y", "x"), name="2t", attrs={"units": "K"})


def steps(n: int) -> Iterator[Any]:
    for step in range(n):
        yield hr.Output(np.full(10, float(step)), step=step)


def same_steps(n: int, seconds: float) -> Iterator[Any]:
    for _ in range(n):
        yield hr.Output(1, step=0)
        time.sleep(seconds)


def as_text(value: object, file: IO[bytes]) -> None:
    file.write(repr(value).encode())


def full(value: object, file: IO[bytes]) -> None:
    file.write(b"x")
    raise OSError(28, "No space left on device")


def full_once(marker: str) -> Callable[[object, IO[bytes]], None]:
    def encode(value: object, file: IO[bytes]) -> None:
        if not os.path.exists(marker):
            Path(marker).touch()
            raise OSError(28, "No space left on device")
        as_text(value, file)

    return encode


def die_once(marker: str) -> Callable[[object, IO[bytes]], None]:
    """Kills its runner the first time, in the middle of a file."""

    def encode(value: object, file: IO[bytes]) -> None:
        if not os.path.exists(marker):
            Path(marker).touch()
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        as_text(value, file)

    return encode


@pytest.fixture(scope="module")
def cluster() -> Iterator[hr.Cluster]:
    with hr.Cluster.local(hosts=2) as cluster:
        yield cluster


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def outputs_of(job: hr.Job) -> dict[str, Any]:
    return {record.name: record for record in job.outputs()}


def test_every_kind_of_value_goes_to_a_folder_and_comes_back(cluster: hr.Cluster, tmp_path: Path) -> None:
    g = hr.Graph("kinds")
    g.add(array, 1000, name="array")
    g.add(dict, a=g.add(array, 3, name="a"), name="dict")
    g.add(frame, name="frame")
    g.add(field, name="a/field")
    g.add(str, "text", name="text")
    g.add(divmod, 7, 2, name="two", outputs=2)
    job = cluster.submit(g, sink=tmp_path)
    results = job.results(WAIT)
    assert files(tmp_path) == sorted(
        ["array.npy", "dict.npz", "frame.parquet", "a%2Ffield.nc", "text.pickle", "two%5B0%5D.pickle", "two%5B1%5D.pickle"]
    )
    np.testing.assert_array_equal(results["array"], array(1000))
    np.testing.assert_array_equal(results["dict"]["a"], array(3))
    pd.testing.assert_frame_equal(results["frame"], frame())
    xr.testing.assert_identical(results["a/field"], field())
    assert (results["text"], results["two[0]"], results["two[1]"]) == ("text", 3, 1)
    np.testing.assert_array_equal(np.load(tmp_path / "array.npy"), array(1000))
    record = outputs_of(job)["array"]
    assert (record.location, record.dtype, record.shape, record.encoding) == (str(tmp_path / "array.npy"), "float64", (1000,), "npy")
    assert record.bytes == os.path.getsize(record.location)


def test_single_outputs_have_sinks_of_their_own_and_metadata_makes_places(cluster: hr.Cluster, tmp_path: Path) -> None:
    g = hr.Graph("mixed")
    day = g.add(array, 100, name="day", metadata={"param": "2t"})
    g.output(g.add(total, day, name="held"))
    g.output(day, sink=tmp_path / "{param}" / "{graph}.npy")
    g.output(g.add(steps, 3, outputs=3, name="steps"), sink=str(tmp_path / "{job}" / "{step:02d}"))
    g.output(g.add(str, "x", name="note"), sink=hr.Sink(tmp_path / "notes/", encoding="txt", encoder=as_text))
    job = cluster.submit(g)
    results = job.results(WAIT)
    assert results["held"] == total(array(100))
    assert results["steps[2]"].tolist() == [2.0] * 10
    assert files(tmp_path) == sorted(["2t/mixed.npy", "notes/note.txt", *(f"{job.id}/0{n}/steps%5B{n}%5D.npy" for n in range(3))])
    assert results["note"].location == str(tmp_path / "notes/note.txt")
    assert bytes(results["note"].read()) == b"'x'"
    assert job.metadata("steps[1]") == {"step": 1}
    again = cluster.job(job.id)
    assert again.result("steps[1]", WAIT).tolist() == [1.0] * 10


def test_a_result_is_read_as_soon_as_it_is_published(cluster: hr.Cluster, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    g = hr.Graph()
    g.output(g.add(array, 10, name="early"), sink=tmp_path / "out")
    g.output(g.add(wait_for, str(gate), name="late"))
    job = cluster.submit(g)
    assert job.result("early", WAIT).sum() == 45
    assert not job.done
    gate.touch()
    assert job.results(WAIT)["late"] == str(gate)


def test_many_small_outputs(cluster: hr.Cluster, tmp_path: Path) -> None:
    g = hr.Graph()
    for n in range(300):
        g.add(str, n, name=f"n{n}")
    results = cluster.submit(g, sink=tmp_path / "out").results(WAIT)
    assert results == {f"n{n}": str(n) for n in range(300)}
    assert len(files(tmp_path / "out")) == 300


def test_a_large_graph_keeps_its_sink(cluster: hr.Cluster, tmp_path: Path) -> None:
    g = hr.Graph()
    g.output(g.add(len, bytes(600_000), name="n"))
    assert cluster.submit(g, sink=tmp_path / "out").results(WAIT) == {"n": 600_000}
    assert files(tmp_path) == ["out/n.pickle"]


@pytest.mark.parametrize(
    ("sink", "what"),
    [
        ("s4://bucket/x", "'s4://bucket/x' cannot be opened: Protocol not known"),
        ("memory://x", "memory of one process"),
        ("https://example.org/x", "it is read-only"),
        ("simplecache::file:///x", "chains"),
        ("out/{level}", "output 'one' has no metadata 'level'"),
        ("out/all.npy", "outputs 'one' and 'two' would both be written to .*/out/all.npy"),
        ("out/{", "is not a valid pattern"),
        ("", "empty"),
    ],
)
def test_what_is_no_sink_is_refused_when_it_is_submitted(cluster: hr.Cluster, sink: str, what: str) -> None:
    g = hr.Graph()
    g.add(array, 1, name="one")
    g.add(array, 2, name="two")
    with pytest.raises(hr.GraphError, match=what):
        cluster.submit(g, sink=sink)


def test_a_relative_path_is_the_clients(cluster: hr.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    g = hr.Graph()
    g.add(array, 1, name="one")
    cluster.submit(g, sink="here").results(WAIT)
    assert files(tmp_path) == ["here/one.npy"]


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.003, 0.006, 0.01, 0.02])
def test_two_outputs_that_lead_to_one_file_fail_the_job_however_soon_the_second_comes(
    cluster: hr.Cluster, tmp_path: Path, seconds: float
) -> None:
    for number in range(4):
        folder = tmp_path / str(number)
        g = hr.Graph()
        g.add(same_steps, 2, seconds, outputs=2, name="same")
        job = cluster.submit(g, sink=folder / "{step}.pickle")
        with pytest.raises(hr.TaskFailed, match=rf"outputs 'same\[0\]' and 'same\[1\]' lead to one file, {folder}/0.pickle: put {{name}}"):
            job.results(WAIT)
        assert job.status().state == "failed"


def test_sinks_write_only_where_the_operator_allows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    for folder in (allowed, outside):
        folder.mkdir()
    (allowed / "link").symlink_to(outside)
    monkeypatch.setenv("HEADRACE_SINKS", str(allowed))
    with hr.Cluster.local(hosts=1, runners=1) as limited:
        g = hr.Graph()
        g.add(array, 1, name="one")
        limited.submit(g, sink=allowed / "{job}" / "{name}.npy").results(WAIT)
        with pytest.raises(hr.JobFailed, match=rf"'{outside}.*' is outside .*: choose a place below {allowed} \(HEADRACE_SINKS"):
            limited.submit(g, sink=outside).results(WAIT)
        with pytest.raises(hr.JobFailed, match=r"through a symbolic link to .*, outside of"):
            limited.submit(g, sink=allowed / "link").results(WAIT)
    assert list(outside.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to(cluster: hr.Cluster, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    g = hr.Graph()
    g.add(array, 1, name="one")
    with pytest.raises(hr.TaskFailed, match="Permission denied"):
        cluster.submit(g, sink=tmp_path / "out").results(WAIT)


def test_a_file_where_a_folder_is_to_be(cluster: hr.Cluster, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    g = hr.Graph()
    g.add(array, 1, name="one")
    with pytest.raises(hr.TaskFailed, match=r"output 'one' cannot be written to .*/out/one.npy: .*Error") as caught:
        cluster.submit(g, sink=tmp_path / "out").results(WAIT)
    assert caught.value.reason == "sink_failed"
    assert caught.value.task == "one"
    assert isinstance(caught.value.__cause__, hr.SinkFailed)


def test_no_space_left(cluster: hr.Cluster, tmp_path: Path) -> None:
    g = hr.Graph()
    g.add(array, 1, name="one")
    with pytest.raises(hr.TaskFailed, match="No space left on device"):
        cluster.submit(g, sink=hr.Sink(tmp_path, encoding="txt", encoder=full)).results(WAIT)
    assert files(tmp_path) == []


def test_writing_is_retried_as_the_task_is(cluster: hr.Cluster, tmp_path: Path) -> None:
    g = hr.Graph()
    g.add(hr.task(str, retries=1), 5, name="five")
    sink = hr.Sink(tmp_path / "out", encoding="txt", encoder=full_once(str(tmp_path / "marker")))
    assert bytes(cluster.submit(g, sink=sink).results(WAIT)["five"].read()) == b"'5'"
    assert files(tmp_path / "out") == ["five.txt"]


def test_a_runner_that_dies_while_it_writes(cluster: hr.Cluster, tmp_path: Path) -> None:
    g = hr.Graph()
    g.add(str, 5, name="five")
    sink = hr.Sink(tmp_path / "out", encoding="txt", encoder=die_once(str(tmp_path / "marker")))
    assert bytes(cluster.submit(g, sink=sink).results(WAIT)["five"].read()) == b"'5'"
    eventually(lambda: files(tmp_path / "out") == ["five.txt"])


def test_a_changed_file_is_not_read(cluster: hr.Cluster, tmp_path: Path) -> None:
    g = hr.Graph()
    g.add(array, 10, name="one")
    job = cluster.submit(g, sink=tmp_path)
    assert job.wait(WAIT) == "done"
    with open(tmp_path / "one.npy", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    with pytest.raises(hr.CorruptOutput, match=r"one\.npy was changed after it was written: its checksum"):
        job.results(WAIT)
    (tmp_path / "one.npy").unlink()
    with pytest.raises(hr.OutputsLost, match=r"one\.npy does not exist here"):
        job.results(WAIT)


def test_parts_of_a_cancelled_job_are_removed(cluster: hr.Cluster, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    g = hr.Graph()
    for n in range(5):
        g.output(g.add(array, n, name=f"n{n}"), sink=tmp_path / "out")
    g.output(g.add(wait_for, str(gate), name="late"), sink=tmp_path / "out")
    job = cluster.submit(g)
    job.result("n4", WAIT)
    job.cancel()
    assert job.wait(WAIT, check=False) == "cancelled"
    gate.touch()
    eventually(lambda: not any(name.endswith(".part") for name in files(tmp_path / "out")))


def test_a_job_with_sinks_takes_no_room_in_the_stores(tmp_path: Path) -> None:
    """A stream of outputs of forty times the store's capacity: they go to their sink from the runner."""
    with hr.Cluster.local(hosts=1, capacity=2 << 20) as cluster:
        g = hr.Graph()
        for n in range(8):
            g.add(np.full, 1_250_000, float(n), name=f"n{n}")
        assert cluster.submit(g, sink=tmp_path).wait(WAIT) == "done"
    assert len(files(tmp_path)) == 8


def test_two_hundred_megabytes(tmp_path: Path) -> None:
    """The runner needs the array, and not a second copy of it for the file."""
    with hr.Cluster.local(hosts=1, capacity=64 << 20) as cluster:
        g = hr.Graph()
        g.add(np.ones, 25_000_000, name="ones")
        assert cluster.submit(g, sink=tmp_path).wait(WAIT) == "done"
        peaks = [peak(process) for process in psutil.Process(cluster.pids()["supervisor"]).children(recursive=True)]
        assert max(peaks) < 400 << 20, f"{[n >> 20 for n in peaks]} MiB"


def peak(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
