"""The snapshot of a service: the parts of the log that the service needs to read when it starts."""

from __future__ import annotations

from typing import ClassVar

from headrace_schemas import subjects
from headrace_schemas.base import Message, Record
from headrace_schemas.facts import Events
from headrace_schemas.limits import Count, Moment, Stamp
from headrace_schemas.messages import HostJoined, HostLost, TermBegan

SNAPSHOT_LAYOUT = 3
"""Version of the snapshot. It rises when a service needs more of the log than the snapshots of earlier releases list."""


class Turn(Record, kw_only=True):
    """A message of the log that changes more than one job."""

    seq: Stamp
    time: Moment
    """The time at which the server stored it: seconds since 1970."""
    message: HostJoined | HostLost | TermBegan | Events
    """The message as it is in the log: a host that joined or was lost, a term that began, or the list of what a host holds that has yet to
    join again. A `TermBegan` can also stand for the first decision of a term, of a leader of an older release."""


class LedgerSnapshot(Message, tag="ledger_snapshot", kw_only=True):
    """KV `snapshots`: the parts of the log up to `seq` that a service needs to read when it starts.

    It skips the messages of all other jobs: those jobs are over, and the service has nothing left to decide about them.

    seq, time: of one message. They tell whether the log is still the same one.

    A snapshot that is too large for one entry has several parts: the first is stored under the name of the service, the others under
    `<service>-1`, `<service>-2` and so on, with these names in `service`.
    """

    stands_on: ClassVar = (subjects.token, "service")
    columns: ClassVar = (("first", "last"),)
    tokens: ClassVar = ("jobs", "over")

    service: str
    schema: Count
    """`SCHEMA_VERSION` of the release that wrote it. A service ignores a snapshot of another version."""
    layout: Count
    """`SNAPSHOT_LAYOUT` of that release. A service also ignores a snapshot of another layout."""
    seq: Stamp
    time: Moment
    jobs: list[str] = []
    """The jobs whose messages are needed."""
    first: list[Stamp] = []
    """Positions of these messages: the first sequence of each range, in ascending order."""
    last: list[Stamp] = []
    """The last sequence of each range."""
    turns: list[Turn] = []
    """Messages that change more than one job, in the order of the log."""
    over: list[str] = []
    """The jobs that the service forgot last. It ignores another submission of one of them."""
    rest: list[Stamp] = []
    """In the first of several parts: the revisions of the other parts. If the bucket has other revisions now, the snapshot is
    incomplete."""
