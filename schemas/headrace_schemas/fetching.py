"""The protocol by which the publisher relays values of outputs to a client that cannot reach the host that holds them.

    client -> FETCH_SUBJECT     Fetch: these datasets, from this host      <- Fetching: a session, and the subject to ask
    client -> that subject      the session's id                           <- the next piece, as bytes; b"" at the end
    ...

A piece is `HEADER` and some bytes of one dataset's encoded value. A client keeps a few requests in flight, and sends more for as long as
pieces arrive. So the client sets the pace, and the publisher fetches nothing more for a client that has gone.
"""

from __future__ import annotations

from struct import Struct
from typing import ClassVar

from headrace_schemas.base import Record, since
from headrace_schemas.limits import Attempt, Id, Version

FETCH_SUBJECT = "headrace.service.headrace-publisher.fetch"
"""The subject on which every publisher answers, whether it leads or not."""

HEADER = Struct("<qqq")
"""The header of a piece: the dataset, the length of its whole value (or `GONE` or `WAIT`), and the offset of the piece's bytes in the
value."""
GONE = -1
"""Instead of a length: the host does not have this dataset. The client discards the bytes that it got of it."""
WAIT = -2
"""Instead of a length: no bytes have arrived yet. Ask again."""


class Fetch(Record, kw_only=True):
    """Ask the publisher to fetch these datasets of a job from this host."""

    columns: ClassVar = (("datasets", "attempts"),)
    tokens: ClassVar = ("job", "host")

    v: Version = since(1)
    job: str
    host: str
    datasets: list[Id]
    attempts: list[Attempt]
    """Per dataset."""


class Fetching(Record, kw_only=True):
    """The answer to `Fetch`: send `session` to `subject` to get the pieces.

    An empty session means that the publisher serves too many clients: ask again later.
    """

    v: Version = since(1)
    session: str = ""
    subject: str = ""
