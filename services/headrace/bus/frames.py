"""Frames of the NATS protocol, and JetStream's reply subjects, headers and acknowledgements.

Pure functions on the hot path: a published or delivered message costs a few microseconds altogether. The formats are those of
https://docs.nats.io/reference/reference-protocols/nats-protocol and of NATS ADR-15 (reply subjects).
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec

_SUBJECT = re.compile(r"[\x21-\x7e]+")
_HEADER = re.compile(r"[\x20-\x7e]*")


class Record(NamedTuple):
    """One message of a stream.

    seq: its sequence in the stream. time: when the server stored it, seconds since 1970. headers: the raw header block, mostly empty.
    """

    seq: int
    time: float
    subject: str
    data: bytes
    headers: bytes = b""


class Delivery(NamedTuple):
    """The contents of the reply subject of a delivered message.

    seq: position in the stream. number: position in the consumer, from 1, without gaps. pending: matching messages that follow it. time:
    nanoseconds since 1970.
    """

    seq: int
    number: int
    time: int
    pending: int


@lru_cache(maxsize=4096)
def check_subject(subject: str) -> str:
    """Return the subject if it can go into a frame unchanged. Raises ValueError if it has blanks or control characters, or is empty."""
    if not _SUBJECT.fullmatch(subject):
        raise ValueError(f"{subject!r} cannot be a subject: it must be printable ASCII without blanks")
    return subject


def header(name: str, value: str) -> str:
    """Return one header line. Raises ValueError for a value that would break out of its line."""
    if not _HEADER.fullmatch(value):
        raise ValueError(f"{value!r} cannot be the value of header {name}: it must be printable ASCII")
    return f"{name}:{value}\r\n"


def seconds(time: str) -> float:
    """Convert a time of the server's API (UTC) to seconds since 1970, equal to the time of the delivered message. An empty text gives 0.

    >>> seconds("2026-12-01T11:40:00.123456789Z") == 1_796_125_200_123_456_789 * 1e-9
    True
    """
    if not time:
        return 0.0
    whole, _, fraction = time.removesuffix("Z").partition(".")
    return (int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0"))) * 1e-9


def pub(subject: str, reply: str, headers: str, data: bytes) -> bytes:
    """Return a PUB frame, or HPUB if there are header lines. Subjects and header lines must have been checked."""
    size = len(data)
    if not headers:
        return b"%b%b\r\n" % (f"PUB {subject} {reply} {size}\r\n".encode(), data)
    block = len(headers) + 12  # the first line with its end, and the blank one
    return b"%b%b\r\n" % (f"HPUB {subject} {reply} {block} {block + size}\r\nNATS/1.0\r\n{headers}\r\n".encode(), data)


def delivery(reply: bytes) -> Delivery:
    """Parse a reply subject: `$JS.ACK.<stream>.<consumer>.<deliveries>.<seq>.<number>.<time>.<pending>`.

    A newer server or a domain puts two more tokens before the stream. Raises ValueError for anything else.
    """
    parts = reply.split(b".")
    if len(parts) == 9:
        return Delivery(int(parts[5]), int(parts[6]), int(parts[7]), int(parts[8]))
    if len(parts) >= 11:
        return Delivery(int(parts[7]), int(parts[8]), int(parts[9]), int(parts[10]))
    raise ValueError(f"{reply!r} is not the reply subject of a JetStream message")


def status(headers: bytes) -> int:
    """Return the number in a status line `NATS/1.0 503 ...`, or 0 for a message without one."""
    return int(headers[9:12]) if headers[8:9] == b" " else 0


def value_of(headers: bytes, name: bytes) -> bytes:
    """Return the value of a header, or nothing."""
    start = headers.find(b"\r\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 3
    return headers[start : headers.find(b"\r\n", start)].strip()


class Refusal(msgspec.Struct):
    """The error in an answer of JetStream."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Ack(msgspec.Struct):
    """The answer to a publish."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: Refusal | None = None


_ack = msgspec.json.Decoder(Ack)


def ack(data: bytes) -> Ack:
    """Decode the answer to a publish. Raises msgspec.DecodeError if it is invalid."""
    return _ack.decode(data)


WRONG_SEQUENCE = frozenset({10071, 10164})
"""err_code of a publish that expected another last sequence."""
TRANSIENT = frozenset({10004, 10008, 10009, 10158, 10167})
"""err_code of temporary errors: cluster incomplete, JetStream not available, not the leader, duplicate in process, too many requests."""
NOT_ENABLED = frozenset({10039, 10076})
"""err_code if JetStream is turned off for the account or the server."""
NOT_FOUND = frozenset({10014, 10037, 10059})
"""err_code of a consumer, message or stream that does not exist."""
NAME_IN_USE = 10058
"""err_code of a stream that exists with another configuration."""
FULL = 10077
"""err_code of a stream that discards new messages and is full, or whose disk is full."""
NO_STORAGE = frozenset({10047, 10023})
"""err_code of limits that together exceed what the server offers."""
