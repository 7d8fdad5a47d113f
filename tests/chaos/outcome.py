"""What a seed left behind, as data."""

from __future__ import annotations

import msgspec


class SinkFile(msgspec.Struct, kw_only=True, frozen=True):
    """A file in the folder of a job's sink."""

    path: str
    bytes: int
    checksum: str


class Announced(msgspec.Struct, kw_only=True, frozen=True):
    """One announcement of an output, as it is in the log."""

    name: str
    seq: int
    location: str = ""
    bytes: int = 0
    checksum: str = ""


class JobOutcome(msgspec.Struct, kw_only=True):
    """What became of one job. verdict, detail: of the client. outputs: their names. state: in the log, empty if the log has no such job.

    differences: what `replay --check` finds. files: in the folder of its sink, None without a sink.
    """

    name: str
    id: str
    verdict: str
    detail: str = ""
    outputs: list[str] = []
    state: str = ""
    announced: list[Announced] = []
    differences: list[str] = []
    files: list[SinkFile] | None = None


class Outcome(msgspec.Struct, kw_only=True):
    """What became of a seed.

    missing: jobs that no client told of. unplanned: services that ended though nobody killed them. badly_ended: those that did not end
    well when they were told to. left: processes and files after the end. consumers: what was wrong with the streams' consumers.
    """

    jobs: list[JobOutcome] = []
    missing: list[str] = []
    unplanned: list[str] = []
    badly_ended: list[str] = []
    left: list[str] = []
    consumers: list[str] = []
