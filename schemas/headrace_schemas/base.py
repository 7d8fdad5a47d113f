"""What all messages have in common: a kind, a schema version, and tolerance for unknown fields."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import msgspec

from headrace_schemas.limits import Stamp, Version

SCHEMA_VERSION = 1
"""Version of the wire contract: the newest version of any kind of message. It rises when a field of one kind changes its meaning or goes
away, but not for a new optional field."""


def since(version: int) -> Any:
    """Return the field `v` of a kind of message whose meaning is unchanged since a version of the contract.

    Only a kind that changes gets the new version. Releases that differ in other kinds can still read it, so that they work side by side. If
    `Events` gets a new version, so must `HostEntry`: a host then waits for a controller that can read its events.
    """
    return msgspec.field(default_factory=lambda: version)


class Record(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A part of a message, with no kind and no version of its own.

    Class variables state what must hold beyond the types of its fields (see `reading.fault`):
    columns: groups of lists of the same length. A list whose name ends in `?` may also be empty.
    totals: pairs (lengths, items): the sum of the lengths is the number of items.
    indexes: pairs (places, table): each place is an index into the table.
    tokens: fields that are, or list, tokens of subjects, besides those that form the message's own subject.
    places: fields that say where a data plane listens, like 10.0.0.1:7000.
    """

    columns: ClassVar[tuple[tuple[str, ...], ...]] = ()
    totals: ClassVar[tuple[tuple[str, str], ...]] = ()
    indexes: ClassVar[tuple[tuple[str, str], ...]] = ()
    tokens: ClassVar[tuple[str, ...]] = ()
    places: ClassVar[tuple[str, ...]] = ()


class Message(Record, tag_field="kind", kw_only=True):
    """A message on the bus. `kind` names its type; `v` is always sent, also when it is the default.

    A reader ignores unknown fields, so that a newer writer may add some. It refuses a `v` above its own.
    """

    stands_on: ClassVar[tuple[Any, ...]] = ()
    """The function of `subjects` that makes its subject, or its key in a bucket, and the fields that the function takes. Empty for a
    message without a subject."""

    v: Version = since(1)

    def subject(self) -> str:
        """Return the only subject that the message may have, or the key of a value in a bucket.

        Raises ValueError if a field cannot be part of one.
        """
        make, *fields = self.stands_on
        found: str = make(*[getattr(self, field) for field in fields])
        return found


class Decision(Message, kw_only=True):
    """A decision of a service. Two stamps make it possible to check it, and to ignore a former leader.

    at: the last sequence of the stream LOG that the service had folded when it decided.
    term: the revision of the service's lease. Readers ignore a message of an older term than one that they have seen.
    """

    at: Stamp
    term: Stamp


class SchemaMismatch(ValueError):
    """A message of a newer release than this one can read."""


M = TypeVar("M", bound=Message)
_encoder = msgspec.json.Encoder()


def encode(message: msgspec.Struct) -> bytes:
    """Encode the message as JSON (bytes fields in base64), ready to publish."""
    return _encoder.encode(message)


def decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    """Return a JSON decoder for a type of message, or for a union of types that `kind` tells apart."""
    return msgspec.json.Decoder(type_)


def check_version(message: Message) -> None:
    """Check that this release can read the message. Raises SchemaMismatch, which names both versions, if not."""
    if message.v > SCHEMA_VERSION:
        raise SchemaMismatch(
            f"{type(message).__name__} has schema version {message.v}, but this release reads up to {SCHEMA_VERSION}: upgrade this side"
        )
