"""The log of a real cluster: what a task writes, and what the host says of a runner that died, with job, task and host."""

import json
import logging
import os
import sys
from pathlib import Path

import pytest

import headrace as hr

WAIT = 20.0


def chatter() -> int:
    logging.getLogger("models.ocean").warning("the step is %d s long", 900)
    return 1


def die() -> None:
    os._exit(3)


def test_records_of_tasks_and_of_hosts_say_which_job_task_and_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LOG_FORMAT", "json")
    path = tmp_path / "log"
    with hr.Cluster.local(hosts=1, log_file=path) as cluster:
        talks = hr.Graph("talks")
        talks.add(chatter, name="talker")
        talking = cluster.submit(talks)
        assert talking.results(WAIT) == {"talker": 1}
        dies = hr.Graph("dies")
        dies.add(die, name="victim")
        dying = cluster.submit(dies)
        with pytest.raises(hr.JobFailed):
            dying.results(WAIT)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    (said,) = [record for record in records if record["logger"] == "models.ocean"]
    assert said["event"] == "the step is 900 s long"
    assert (said["service"], said["host"], said["job"], said["task"]) == ("runner", "host-0", talking.id, "talker")
    ended = [record for record in records if record["event"] == "a runner ended"]
    assert ended
    for record in ended:
        about = (record["service"], record["host"], record["job"], record["task"], record["status"])
        assert about == ("worker", "host-0", dying.id, "victim", 3)


def test_a_setting_that_is_wrong_is_named_once_by_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LOG_LEVEL", "loud")
    path = tmp_path / "log"
    with hr.Cluster.local(hosts=2, log_file=path) as cluster:
        assert cluster.compute(hr.delayed(chatter)(), timeout=WAIT) == 1
    text = path.read_text()
    assert "the step is 900 s long" in text
    assert text.count("HEADRACE_LOG_LEVEL") == 1


def prints(name: str) -> str:
    print(name, "is here")
    print("a half", end="")
    print(", and its other\n10 %\r20 %\r30 %\nunfinished", end="", file=sys.stderr if name == "loud" else sys.stdout, flush=True)
    sys.stdout.buffer.write(b"")
    assert sys.stdout.fileno() == 1
    return name


def fails() -> None:
    raise ValueError("too hot")


def test_what_tasks_print_and_raise_is_in_the_log_with_job_and_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LOG_FORMAT", "json")
    monkeypatch.setenv("HEADRACE_LOG_LEVEL", "warning")
    path = tmp_path / "log"
    with hr.Cluster.local(hosts=1, runners=1, log_file=path) as cluster:
        graph = hr.Graph("prints")
        graph.add(prints, "first", name="first")
        graph.add(prints, "loud", name="second")
        job = cluster.submit(graph)
        job.results(WAIT)
        graph = hr.Graph("fails")
        graph.add(fails, name="victim")
        failing = cluster.submit(graph)
        with pytest.raises(hr.TaskFailed):
            failing.results(WAIT)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    printed = [record for record in records if record["logger"] == "headrace.printed"]
    assert {record["job"] for record in printed} == {job.id}
    assert [record["event"] for record in printed if record["task"] == "first"] == [
        "first is here",
        "a half, and its other",
        "30 %",
        "unfinished",
    ]
    assert sorted((record["stream"], record["event"]) for record in printed if record["task"] == "second") == [
        ("stderr", ", and its other"),
        ("stderr", "30 %"),
        ("stderr", "unfinished"),
        ("stdout", "a half"),
        ("stdout", "loud is here"),
    ]
    (failed,) = [record for record in records if record["event"] == "a task failed"]
    assert (failed["job"], failed["task"], failed["reason"]) == (failing.id, "victim", "raised")
    assert failed["error"] == "ValueError: too hot"
    assert "in fails" in failed["exception"]
