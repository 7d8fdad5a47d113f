"""The messages that the controller writes into the log before it acts on them: requests of clients, and hosts that join or are lost.

They are facts, not decisions: what a client asked for, and which leases exist. `state` decides what follows from them.
"""

from __future__ import annotations

from typing import NamedTuple

from headrace.errors import GraphError
from headrace.ledger import HostRecord, Hosts, JobLedger
from headrace.sinks.allowed import Allowed
from headrace_schemas import (
    Cancel,
    CancelAsked,
    Decision,
    HostEntry,
    HostJoined,
    HostLost,
    Release,
    Released,
    subjects,
)


class Note(NamedTuple):
    """A message for the log. msg_id: the same for the same fact, so that the server drops repetitions."""

    subject: str
    message: Decision
    msg_id: str


class Asked(NamedTuple):
    """A `Note` of a client's request."""

    subject: str
    message: CancelAsked | Released
    msg_id: str


def note_of_request(request: Cancel | Release, at: int, term: int) -> Asked:
    """Make the message for a request of a client."""
    job = request.job
    if isinstance(request, Cancel):
        asked = CancelAsked(at=at, term=term, job=job, reason=request.reason)
        return Asked(subjects.state(job), asked, f"cancel.{job}")
    released = Released(at=at, term=term, job=job, datasets=request.datasets)
    return Asked(subjects.state(job), released, "")


# --- jobs ---------------------------------------------------------------------------------------------------------------


def refused_sink(job: JobLedger, allowed: Allowed) -> str:
    """Return the reason why a job may not run: a sink in a folder that is not allowed. Empty if all sinks are allowed."""
    if job.sunk is None:
        return ""
    sinks = job.sinks
    try:
        for sink in (*sinks.sinks, *((sinks.default,) if sinks.default is not None else ())):
            allowed.check_path(sink.path)
    except GraphError as error:
        return str(error)
    return ""


# --- hosts --------------------------------------------------------------------------------------------------------------


def note_of_host(entry: HostEntry, at: int, term: int) -> Note:
    """Make the message for a host that registered."""
    message = HostJoined(
        at=at,
        term=term,
        host=entry.host,
        epoch=entry.epoch,
        address=entry.address,
        runners=entry.runners,
        capacity=entry.capacity,
        resources=entry.resources,
        memory=entry.memory,
        rejoins=entry.rejoins,
    )
    return Note(subjects.host(entry.host), message, f"joined.{entry.host}.{entry.epoch}")


def note_of_loss(host: str, epoch: int, at: int, term: int) -> Note:
    """Make the message for a host whose lease ran out, or that left."""
    message = HostLost(at=at, term=term, host=host, epoch=epoch, reason="its lease ran out, or it left")
    return Note(subjects.host(host), message, f"lost.{host}.{epoch}")


def notes_of_presence(hosts: Hosts, now: float, after: float, at: int, term: int) -> list[Note]:
    """Make a new `HostJoined` for each living host whose last one is `after` seconds old. now: by the log's clock."""
    due = [hosts[name] for name in hosts.alive() if now - hosts[name].told >= after]
    return [
        Note(subjects.host(host.name), _joined_again(host, at, term), f"again.{host.name}.{host.epoch}.{host.told:.6f}") for host in due
    ]


def _joined_again(host: HostRecord, at: int, term: int) -> HostJoined:
    return HostJoined(
        at=at,
        term=term,
        host=host.name,
        epoch=host.epoch,
        address=host.address,
        runners=host.runners,
        capacity=host.capacity,
        resources=host.resources,
        memory=host.memory,
        again=True,
    )


def is_news(entry: HostEntry, hosts: Hosts) -> bool:
    """Whether the log does not have the start of this host in this epoch yet."""
    known = hosts.get(entry.host)
    return known.epoch < entry.epoch if known is not None else entry.epoch >= hosts.heard.get(entry.host, 0)


def missing(hosts: Hosts, registered: set[str]) -> list[tuple[str, int]]:
    """List the hosts, with their epochs, that are alive according to the log, and not registered."""
    return [(name, hosts[name].epoch) for name in hosts.alive() if name not in registered]
