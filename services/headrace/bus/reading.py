"""What everybody reads messages with: of the log, of requests, of buckets and of the catalogue.

Reading never fails. What `headrace_schemas.reading` refuses is passed over: counted, with its sequence, and told of in `status` and the
metrics. Two kinds of messages are more than that:

- A submission that cannot be read stands for a job that cannot run, so that its client is told.
- A decision of a newer schema, of a service that leads or has led: who passes it over would go on without something that was decided. So
  it ends who reads it (`NewerSchema`). That the term is one that the service can have is for `terms` to find, and with it here.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import msgspec

from headrace.bus.frames import Record
from headrace.bus.metrics import Reading
from headrace.errors import NewerSchema
from headrace_schemas import SCHEMA_VERSION, Decision, GraphSource, GraphSpec, LogMessage, Message, Submitted, decoder, subjects
from headrace_schemas.reading import NewerVersion, Unreadable, header_of, read
from headrace_schemas.streams import LOG

M = TypeVar("M", bound=Message)
_log_message = decoder(LogMessage)


class Entry(NamedTuple):
    """A message of the log: its sequence, the time at which the server stored it (seconds since 1970), its subject, and itself."""

    seq: int
    time: float
    subject: str
    message: LogMessage


class Claim(NamedTuple):
    """An entry that counts if the service on whose subject it stands can have this term. None: one of a newer schema."""

    record: Record
    entry: Entry | None
    service: str
    term: int


def read_value(decoder: msgspec.json.Decoder[M], stream: str, record: Record, reading: Reading) -> M | None:
    """A message that stands for itself: a request, or a value of a bucket, whose subject is its key then. None if it is passed over."""
    try:
        return read(decoder, record.data, record.subject)
    except Unreadable as error:
        reading.pass_over(stream, record.seq, record.subject, str(error))
        return None


class Reader:
    """Reads the entries of one feed, in their order. stream: the one that they are in."""

    def __init__(self, reading: Reading, stream: str = LOG.name) -> None:
        self._reading = reading
        self._stream = stream
        self._newest: dict[str, int] = {}
        self._services: dict[type[LogMessage], str] = {}
        """Which service decides on each kind of message: a kind stands on subjects of one service. Empty for what is no decision."""

    def read(self, record: Record) -> Entry | Claim | None:
        """The entry; a claim that is to be settled; or None for what is passed over."""
        try:
            message = read(_log_message, record.data, record.subject)
        except Unreadable as error:
            if record.subject.endswith(subjects.SUBMITTED):
                return self._unreadable_submission(record, error)
            if isinstance(error, NewerVersion) and (service := subjects.leader(record.subject)):
                return Claim(record, None, service, error.term)
            self.pass_over(record, error)
            return None
        entry = Entry(record.seq, record.time, record.subject, message)
        kind = type(message)
        service = self._services[kind] if kind in self._services else self._service_of(entry)
        if not service or self._newest.get(service) == message.term:  # the latter is settled, and the latest
            return entry
        return Claim(record, entry, service, message.term)

    def _service_of(self, entry: Entry) -> str:
        kind = type(entry.message)
        service = self._services[kind] = subjects.leader(entry.subject) if issubclass(kind, Decision) else ""
        return service

    def settle(self, claim: Claim, possible: bool) -> Entry | None:
        """The entry of a claim, if its service can have the term. Raises NewerSchema for one of a newer schema that counts."""
        record, service, term = claim.record, claim.service, claim.term
        if not possible:
            self.pass_over(record, f"it claims term {term}, which no {service} ever had")
        elif claim.entry is None and term < self._newest.get(service, 0):
            self.pass_over(record, f"it is of a newer schema, and of a {service} before the one that led")
        elif claim.entry is None:
            version = header_of(record.data).v
            raise NewerSchema(
                f"message {record.seq} of the log, on {record.subject}, has schema version {version}, but this release reads up to "
                f"{SCHEMA_VERSION}: upgrade this side"
            )
        else:
            self._newest[service] = max(term, self._newest.get(service, 0))
        return claim.entry if possible else None

    def pass_over(self, record: Record, why: object) -> None:
        """Count a message that says nothing to anybody."""
        self._reading.pass_over(self._stream, record.seq, record.subject, str(why))

    def _unreadable_submission(self, record: Record, why: Unreadable) -> Entry | None:
        """What stands for it: with a graph of the newer version if that is why it cannot be read, and without one otherwise."""
        self.pass_over(record, why)
        parts = record.subject.split(".")
        try:
            job = subjects.token(parts[2])
            if subjects.submitted(job) != record.subject:
                return None
        except (ValueError, IndexError):
            return None
        header, graph = header_of(record.data), GraphSource()
        if header.v > SCHEMA_VERSION:
            graph.inline = GraphSpec(v=header.v, name="", n_tasks=0, shape_hash="", content_hash="", functions=[], function=[])
        client = header.client if isinstance(header.client, str) else ""
        return Entry(record.seq, record.time, record.subject, Submitted(job=job, graph=graph, client=client))
