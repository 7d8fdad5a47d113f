"""The log of a real cluster: what a task writes, and what the host says of a runner that died, with job, task and host."""

import json
import logging
import os
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
