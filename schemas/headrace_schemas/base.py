"""What every message has in common: a kind, a schema version, and tolerance for fields it does not know."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import msgspec

from headrace_schemas.limits import Stamp, Version

SCHEMA_VERSION = 1
"""Version of the wire contract: the newest of all kinds of messages. Raised when a field of one changes its meaning or goes away; a new
optional field does not raise it."""


def since(version: int) -> Any:
    """The field `v` of a kind of messages that has meant the same since a version of the contract.

    When a kind changes, it alone gets the new version. Releases that differ in other kinds can still read it, so that they work side by
    side. If `Events` gets one, so does `HostEntry`: a host then waits for a controller that can read what it says.
    """
    return msgspec.field(default_factory=lambda: version)


class Record(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A part of a message: no kind and no version of its own.

    What holds beyond the types of its fields (see `reading.fault`):
    columns: groups of lists of one length. A name with `?` is of a list that may also be empty.
    totals: pairs (lengths, items): the lengths add up to as many as there are items.
    indexes: pairs (places, table): the places are indexes of the table.
    tokens: fields that are, or list, tokens of subjects, besides those that the message's own subject is made of.
    places: fields that say where a data plane listens, like 10.0.0.1:7000.
    """

    columns: ClassVar[tuple[tuple[str, ...], ...]] = ()
    totals: ClassVar[tuple[tuple[str, str], ...]] = ()
    indexes: ClassVar[tuple[tuple[str, str], ...]] = ()
    tokens: ClassVar[tuple[str, ...]] = ()
    places: ClassVar[tuple[str, ...]] = ()


class Message(Record, tag_field="kind", kw_only=True):
    """A message on the bus. `kind` says which; `v` is always sent, also when it is the default.

    A reader ignores fields it does not know, so a newer writer may add some. A reader refuses a `v` above its own.
    """

    stands_on: ClassVar[tuple[Any, ...]] = ()
    """The function of `subjects` that makes its subject, or key in a bucket, and the fields that this takes. Empty: it is not told."""

    v: Version = since(1)

    def subject(self) -> str:
        """The only subject that it may stand on; of a value in a bucket, its key. Raises ValueError for what cannot be part of one."""
        make, *fields = self.stands_on
        found: str = make(*[getattr(self, field) for field in fields])
        return found


class Decision(Message, kw_only=True):
    """A message that a service decided on. Two stamps make it checkable and keep an old leader out.

    at: the last sequence of the LOG stream that the service had folded when it decided.
    term: the revision of the service's lease; a message of an older term than one already seen is ignored.
    """

    at: Stamp
    term: Stamp


class SchemaMismatch(ValueError):
    """The message was written by a newer release than this one can read."""


M = TypeVar("M", bound=Message)
_encoder = msgspec.json.Encoder()


def encode(message: msgspec.Struct) -> bytes:
    """The message as JSON (bytes fields in base64), ready to publish."""
    return _encoder.encode(message)


def decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    """A JSON decoder for a message type, or for a union of them told apart by `kind`."""
    return msgspec.json.Decoder(type_)


def check_version(message: Message) -> None:
    """Refuse a message of a newer schema. Raises SchemaMismatch naming both versions."""
    if message.v > SCHEMA_VERSION:
        raise SchemaMismatch(
            f"{type(message).__name__} has schema version {message.v}, but this release reads up to {SCHEMA_VERSION}: upgrade this side"
        )
