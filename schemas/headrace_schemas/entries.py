"""The values in key-value buckets, one struct each."""

from __future__ import annotations

from typing import ClassVar

from headrace_schemas import subjects
from headrace_schemas.base import Message
from headrace_schemas.limits import Amount, Count, Moment, Size, Stamp
from headrace_schemas.messages import JobState


class HostEntry(Message, tag="host", kw_only=True):
    """KV `hosts`: a host's lease, which the host renews while it is alive."""

    stands_on: ClassVar = (subjects.token, "host")
    places: ClassVar = ("address",)

    host: str
    epoch: Stamp
    address: str
    runners: Count
    capacity: Size
    pid: Count = 0
    resources: dict[str, Amount] = {}
    memory: Size = 0
    """Memory that the host may use, in bytes; 0 if the host does not say."""
    rejoins: bool = False
    """Whether the host had only lost its lease, without a restart."""


class LeaseEntry(Message, tag="lease", kw_only=True):
    """KV `leases`: the holder that leads a service.

    The revision of a holder's first entry is its term. A second entry, under the service's name and `.term`, stays when the lease expires:
    it has the last holder, and the terms of all holders so far.
    """

    holder: str
    terms: list[Stamp] = []
    """The latest terms, in ascending order; empty in the lease itself."""


class JobEntry(Message, tag="job", kw_only=True):
    """KV `jobs`: a job's state, for people. The controller can rebuild it from the log at any time."""

    stands_on: ClassVar = (subjects.token, "job")

    job: str
    name: str
    state: JobState
    n_tasks: Count
    n_done: Count = 0
    client: str = ""
    error: str = ""
    submitted: Moment = 0.0
    """Seconds since the epoch, by the log's clock."""
    ended: Moment = 0.0
