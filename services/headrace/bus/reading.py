"""Reads messages of the log, of requests, of buckets and of the catalogue.

Reading never fails. A message that `headrace_schemas.reading` refuses is skipped: it is counted, with its sequence, and reported in
`status` and the metrics. Two kinds of messages have a further meaning:

- A submission that cannot be read stands for a job that cannot run, so that its client is told.
- A decision of a newer schema, of a service that leads or has led, must not be skipped, because its reader would continue without that
decision. It ends the reader (`NewerSchema`). `terms`, and the reader with it, find out whether the service can have that term.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import msgspec

from headrace.bus.frames import Record
from headrace.bus.metrics import Reading
from headrace.errors import NewerSchema
from headrace_schemas import SCHEMA_VERSION, Decision, GraphSource, GraphSpec, LogMessage, Message, Submitted, TermBegan, decoder, subjects
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
    """An entry that counts only if the service of its subject can have this term. entry: None for an entry of a newer schema."""

    record: Record
    entry: Entry | None
    service: str
    term: int


def read_value(decoder: msgspec.json.Decoder[M], stream: str, record: Record, reading: Reading) -> M | None:
    """Decode a message that stands by itself: a request, or a value of a bucket, whose subject is its key.

    Returns None if it is skipped.
    """
    try:
        return read(decoder, record.data, record.subject)
    except Unreadable as error:
        reading.pass_over(stream, record.seq, record.subject, str(error))
        return None


class Reader:
    """The reader of one feed's entries, in order. stream: the stream that they are in."""

    def __init__(self, reading: Reading, stream: str = LOG.name) -> None:
        self._reading = reading
        self._stream = stream
        self._newest: dict[str, int] = {}
        self._services: dict[type[LogMessage], str] = {}
        """The service that writes each kind of decision; empty for kinds that are not decisions. `TermBegan` is missing, since two services
        write it."""

    def read(self, record: Record) -> Entry | Claim | None:
        """Decode an entry. Returns the entry; a claim that is to be settled; or None for a skipped message."""
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
        if not service or self._newest.get(service) == message.term:  # that term is settled, and the latest
            return entry
        return Claim(record, entry, service, message.term)

    def _service_of(self, entry: Entry) -> str:
        kind = type(entry.message)
        service = subjects.leader(entry.subject) if issubclass(kind, Decision) else ""
        if kind is not TermBegan:
            self._services[kind] = service
        return service

    def settle(self, claim: Claim, possible: bool) -> Entry | None:
        """Return the entry of a claim if its service can have the term. Raises NewerSchema for one of a newer schema that counts."""
        record, service, term = claim.record, claim.service, claim.term
        if not possible:
            self.pass_over(record, f"it claims term {term}, in which no {service} ever led")
        elif claim.entry is None and term < self._newest.get(service, 0):
            self.pass_over(record, f"it has a newer schema, and is from a {service} that no longer led")
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
        """Count a message as skipped."""
        self._reading.pass_over(self._stream, record.seq, record.subject, str(why))

    def _unreadable_submission(self, record: Record, why: Unreadable) -> Entry | None:
        """Return a substitute for an unreadable submission.

        It has a graph of the newer version if that is why the submission cannot be read, and no graph otherwise.
        """
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
