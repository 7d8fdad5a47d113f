"""docs/nats.md names only subjects, streams, buckets and services that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headrace_schemas import subjects
from headrace_schemas.streams import BUCKETS, OBJECT_STORES, STREAMS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "nats.md").read_text()
JOB = "7355lvsascrs"
MADE = {
    subjects.request(JOB),
    subjects.submitted(JOB),
    subjects.needed(JOB),
    subjects.state(JOB),
    subjects.plan(JOB),
    subjects.assign(JOB, "host-0"),
    subjects.assign(JOB, "host-1"),
    subjects.event(JOB, "host-0"),
    subjects.event(JOB, "host-1"),
    subjects.purge(JOB, "host-0"),
    subjects.host("host-0"),
    subjects.term("controller"),
    subjects.output(JOB),
    subjects.committed(JOB),
    "headrace.service.headrace-controller.status",
    "headrace.service.headrace-scheduler.status",
    "headrace.service.headrace-publisher.status",
    "headrace.service.headrace-worker.status-host-0",
}
NAMED = sorted(set(re.findall(r"headrace\.[\w.<>*-]*[\w>*]", TEXT)) - {"headrace.>"})


def matches(pattern: str, subject: str) -> bool:
    """Whether a pattern of NATS, or one with <job> and the like in it, takes a subject."""
    parts = [".+" if part == ">" else r"[^.]+" if part == "*" or part.startswith("<") else re.escape(part) for part in pattern.split(".")]
    return re.fullmatch(r"\.".join(parts), subject) is not None


@pytest.mark.parametrize("pattern", NAMED)
def test_a_subject_that_is_named_exists(pattern: str) -> None:
    assert [subject for subject in MADE if matches(pattern, subject)]


@pytest.mark.parametrize("subject", sorted(MADE))
def test_every_subject_is_named(subject: str) -> None:
    assert [pattern for pattern in NAMED if matches(pattern, subject)]


def typed(command: str) -> list[str]:
    """The patterns that a command is shown with."""
    return re.findall(rf"^    {command} '(\S+)'", TEXT, re.MULTILINE)


def test_a_job_is_shown_whole() -> None:
    of_the_job = [pattern for pattern in typed("nats sub") if pattern.startswith(f"headrace.*.{JOB}")]
    for subject in (each for each in MADE if JOB in each):
        assert any(matches(pattern, subject) for pattern in of_the_job), subject


@pytest.mark.parametrize("command", ["nats sub", "nats stream view OUTPUTS --subject"])
def test_outputs_are_shown_also_those_in_sinks(command: str) -> None:
    patterns = [pattern for pattern in typed(command) if pattern.startswith("headrace.output.")]
    for subject in subjects.outputs_of(JOB):
        assert any(matches(pattern, subject) for pattern in patterns), subject


def test_streams_and_buckets_exist() -> None:
    streams = set(re.findall(r"nats stream \w+ ([A-Z]+)", TEXT)) | set(re.findall(r"`([A-Z]{3,})`", TEXT))
    assert streams == {spec.name for spec in STREAMS}
    buckets = set(re.findall(r"nats kv \w+ (\w+)", TEXT)) | {"secrets"}
    assert buckets <= {spec.name for spec in BUCKETS}
    assert set(re.findall(r"nats object ls (\w+)", TEXT)) == {spec.name for spec in OBJECT_STORES}
