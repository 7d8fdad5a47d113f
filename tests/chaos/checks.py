"""Whether all that a seed left is right. Pure: from an outcome to sentences about what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.chaos.client import LOST, RIGHT, WRONG
from tests.chaos.outcome import JobOutcome, Outcome


def problems(outcome: Outcome) -> list[str]:
    """Everything that is wrong, in sentences; none if all is right."""
    return [problem for found in by_check(outcome).values() for problem in found]


def by_check(outcome: Outcome) -> dict[str, list[str]]:
    """The same by the names of the checks that found something."""
    found = {check.__name__: list(check(outcome)) for check in CHECKS}
    return {name: said for name, said in found.items() if said}


def lost_or_wrong(outcome: Outcome) -> Iterator[str]:
    """No client had a wrong value, or was told that one is lost."""
    for job in outcome.jobs:
        if job.verdict in (WRONG, LOST):
            yield f"{job.name} ({job.id}) {job.verdict}: {job.detail}"


def right_end(outcome: Outcome) -> Iterator[str]:
    """Every job was done in time, for its client and in the log."""
    for name in outcome.missing:
        yield f"{name}: no client told of it"
    for job in outcome.jobs:
        if job.verdict not in (RIGHT, WRONG, LOST):
            yield f"{job.name} ({job.id}) {job.verdict}: {job.detail}"
        elif job.verdict == RIGHT and job.state != "done":
            yield f"{job.name} ({job.id}) is {job.state or 'not there'} in the log, and its client had all values"


def outputs_once(outcome: Outcome) -> Iterator[str]:
    """Every output of a job that is done was announced exactly once."""
    for job in outcome.jobs:
        if job.state != "done":
            continue
        counts = Counter(announced.name for announced in job.announced)
        for name in job.outputs:
            if counts[name] != 1:
                yield f"{job.name} ({job.id}): output {name} was announced {counts[name]} times"
        for name in sorted(set(counts) - set(job.outputs)):
            yield f"{job.name} ({job.id}): {name} was announced, and is no output"


def sinks_whole(outcome: Outcome) -> Iterator[str]:
    """Every announced file is there with its bytes and checksum, and no other file is."""
    for job in outcome.jobs:
        if job.files is not None and job.state == "done":
            yield from _sink_whole(job)


def _sink_whole(job: JobOutcome) -> Iterator[str]:
    files = {file.path: file for file in job.files or ()}
    for announced in job.announced:
        file = files.pop(announced.location, None)
        if file is None:
            yield f"{job.name} ({job.id}): the file of {announced.name} is not there: {announced.location!r}"
        elif (file.bytes, file.checksum) != (announced.bytes, announced.checksum):
            yield f"{job.name} ({job.id}): {file.path} is not what was announced"
    for path in files:
        yield f"{job.name} ({job.id}): nobody announced {path}"


def replay_agrees(outcome: Outcome) -> Iterator[str]:
    """Every decision of the controller follows from the log."""
    for job in outcome.jobs:
        if job.differences:
            yield f"{job.name} ({job.id}): replay --check finds {len(job.differences)} differences, first: {job.differences[0]}"


def nothing_left(outcome: Outcome) -> Iterator[str]:
    """No process, file or consumer outlives the cluster."""
    yield from (f"left behind: {what}" for what in outcome.left)
    yield from outcome.consumers


def services_lived(outcome: Outcome) -> Iterator[str]:
    """No service ended by itself, and all ended in order when they were told to."""
    yield from (f"ended by itself: {what}" for what in outcome.unplanned)
    yield from (f"did not end in order: {what}" for what in outcome.badly_ended)


CHECKS = (lost_or_wrong, right_end, outputs_once, sinks_whole, replay_agrees, nothing_left, services_lived)
