"""What the controller writes into the log before it acts on it: requests of clients, and hosts that come and go. Pure functions.

These are no decisions: they say what somebody asked for or what became of a lease. What follows from them is decided in `state`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from headrace.ledger import Hosts
from headrace_schemas import (
    SCHEMA_VERSION,
    Admitted,
    Cancel,
    CancelAsked,
    Decision,
    GraphSource,
    GraphSpec,
    HostEntry,
    HostJoined,
    HostLost,
    Release,
    Released,
    Request,
    Submit,
    decoder,
    subjects,
)

_decode = decoder(Request).decode


class Note(NamedTuple):
    """A message for the log. msg_id: the same for the same fact, whoever writes it how often."""

    subject: str
    message: Decision
    msg_id: str


class BadRequest(ValueError):
    """A request that cannot be answered in the log, for it names no job."""


class _Header(msgspec.Struct):
    """What can be read of a request that is wrong or too new in its other fields."""

    kind: str = ""
    v: int = 0
    job: str = ""
    client: str = ""


_header = msgspec.json.Decoder(_Header).decode


def note_of_request(data: bytes, at: int, term: int) -> Note:
    """What to write for a request of a client.

    A submission that cannot be read, or is of a newer schema, is admitted without a graph that can run: so its job ends at once, with the
    reason. Raises BadRequest for any other that cannot be read, and for a job id that is none.
    """
    try:
        request = _decode(data)
    except msgspec.DecodeError as error:
        return _unreadable(data, str(error), at, term)
    if request.v > SCHEMA_VERSION:
        return _unreadable(data, f"it has schema version {request.v}, but this release reads up to {SCHEMA_VERSION}", at, term)
    try:
        return _note(request, at, term)
    except ValueError as error:
        raise BadRequest(f"a request is ignored: {error}") from None


def _note(request: Submit | Cancel | Release, at: int, term: int) -> Note:
    job = request.job
    if isinstance(request, Submit):
        return _admitted(job, request.graph, request.client, at, term)
    if isinstance(request, Cancel):
        asked = CancelAsked(at=at, term=term, job=job, reason=request.reason)
        return Note(subjects.state(job), asked, f"cancel.{job}")
    released = Released(at=at, term=term, job=job, datasets=request.datasets)
    return Note(subjects.state(job), released, "")


def _admitted(job: str, graph: GraphSource, client: str, at: int, term: int) -> Note:
    """The graph goes on as it came; whether it is sound is seen where it is read."""
    name, n_tasks = (graph.inline.name, graph.inline.n_tasks) if graph.inline is not None else ("", 0)
    message = Admitted(at=at, term=term, job=job, name=name, n_tasks=n_tasks, graph=graph, client=client)
    return Note(subjects.admitted(job), message, f"admitted.{job}")


def _unreadable(data: bytes, why: str, at: int, term: int) -> Note:
    try:
        header = _header(data)
        if header.kind == "submit":
            return _admitted(subjects.token(header.job), _too_new(header.v), header.client, at, term)
    except ValueError:
        pass
    raise BadRequest(f"a request cannot be read and is ignored: {why}")


def _too_new(version: int) -> GraphSource:
    """Stands for a graph that this release cannot read: of the newer version if that is why, none otherwise."""
    if version <= SCHEMA_VERSION:
        return GraphSource()
    return GraphSource(inline=GraphSpec(v=version, name="", n_tasks=0, shape_hash="", content_hash="", functions=[], function=[]))


# --- hosts --------------------------------------------------------------------------------------------------------------


def note_of_host(entry: HostEntry, at: int, term: int) -> Note:
    """What to write for a host that registered."""
    message = HostJoined(
        at=at,
        term=term,
        host=entry.host,
        epoch=entry.epoch,
        address=entry.address,
        runners=entry.runners,
        capacity=entry.capacity,
        resources=entry.resources,
    )
    return Note(subjects.host(entry.host), message, f"joined.{entry.host}.{entry.epoch}")


def note_of_loss(host: str, epoch: int, at: int, term: int) -> Note:
    """What to write for a host whose lease ran out, or that left."""
    message = HostLost(at=at, term=term, host=host, epoch=epoch, reason="its lease ran out, or it left")
    return Note(subjects.host(host), message, f"lost.{host}.{epoch}")


def is_news(entry: HostEntry, hosts: Hosts) -> bool:
    """Whether the log does not say yet that this host, in this epoch, joined."""
    known = hosts.get(entry.host)
    return known is None or known.epoch < entry.epoch


def missing(hosts: Hosts, registered: set[str]) -> list[tuple[str, int]]:
    """Hosts, with their epochs, that are alive as far as the log says, but are not registered."""
    return [(name, hosts[name].epoch) for name in hosts.alive() if name not in registered]
