"""What a service that starts needs to read of the log, as the service that led before it wrote down."""

from __future__ import annotations

from typing import ClassVar

from headrace_schemas import subjects
from headrace_schemas.base import Message, Record
from headrace_schemas.limits import Count, Moment, Stamp
from headrace_schemas.messages import Events, HostJoined, HostLost, Needed, Revoke

SNAPSHOT_LAYOUT = 2
"""Raised when a service needs more of the log than the snapshots of earlier releases say."""


class Turn(Record, kw_only=True):
    """A message of the log that changes more than one job."""

    seq: Stamp
    time: Moment
    """When the server stored it: seconds since the epoch."""
    message: HostJoined | HostLost | Events | Needed | Revoke
    """A host that came or went, or what one holds that has yet to join again, as it is in the log. Or it stands for the first decision of a
    term: then it has that one's stamps and job, and is about no tasks and no chains."""


class LedgerSnapshot(Message, tag="ledger_snapshot", kw_only=True):
    """KV `snapshots`: what a service that starts needs to read of the log up to `seq`. It skips the messages of all other jobs: those jobs
    are over, and nothing about them is left to decide.

    seq, time: of one message. They tell whether the log is still the same one.

    A snapshot that is too large for one entry has several parts: the first stands under the name of the service, the others under
    `<service>-1`, `<service>-2` and so on, with these names in `service`.
    """

    stands_on: ClassVar = (subjects.token, "service")
    columns: ClassVar = (("first", "last"),)
    tokens: ClassVar = ("jobs", "over")

    service: str
    schema: Count
    """`SCHEMA_VERSION` of the release that wrote it. A service ignores a snapshot of another version."""
    layout: Count
    """`SNAPSHOT_LAYOUT` of that release. A service ignores a snapshot of another layout, too."""
    seq: Stamp
    time: Moment
    jobs: list[str] = []
    """The jobs whose messages are needed."""
    first: list[Stamp] = []
    """Where these messages are: the first sequence of each range, in ascending order."""
    last: list[Stamp] = []
    """The last sequence of each range."""
    turns: list[Turn] = []
    """In the order of the log."""
    over: list[str] = []
    """The jobs that were forgotten last. Another submission of one of them counts for nothing."""
    rest: list[Stamp] = []
    """In the first of several parts: the revisions under which the others were stored. If the bucket has others now, the snapshot is
    incomplete."""
