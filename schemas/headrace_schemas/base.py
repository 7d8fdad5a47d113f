"""What every message has in common: a kind, a schema version, and tolerance for fields it does not know."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

SCHEMA_VERSION = 1
"""Version of the wire contract. Raised when a field changes its meaning or goes away; a new optional field does not raise it."""


def _version() -> int:
    return SCHEMA_VERSION


class Record(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A part of a message: no kind and no version of its own."""


class Message(Record, tag_field="kind", kw_only=True):
    """A message on the bus. `kind` says which; `v` is always sent, also when it is the default.

    A reader ignores fields it does not know, so a newer writer may add some. A reader refuses a `v` above its own.
    """

    v: int = msgspec.field(default_factory=_version)


class Decision(Message, kw_only=True):
    """A message that a service decided on. Two stamps make it checkable and keep an old leader out.

    at: the last sequence of the LOG stream that the service had folded when it decided.
    term: the revision of the service's lease; a message of an older term than one already seen is ignored.
    """

    at: int
    term: int


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
