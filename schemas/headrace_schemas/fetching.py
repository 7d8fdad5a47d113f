"""Values of outputs through the publisher, for a client that cannot reach the host that holds them: requests, and the pieces of the answer.

    client -> FETCH_SUBJECT     Fetch: these datasets, from this host      <- Fetching: a session, and the subject to ask
    client -> that subject      the session's id                           <- the next piece, as bytes; b"" at the end
    ...

A piece is `HEADER` and some bytes of one dataset's encoded value. A client has a few questions on their way at a time and asks on
for as long as pieces come: so it decides how fast they do, and nothing more is fetched for one that has gone.
"""

from __future__ import annotations

from struct import Struct
from typing import ClassVar

from headrace_schemas.base import Record, since
from headrace_schemas.limits import Attempt, Id, Version

FETCH_SUBJECT = "headrace.service.headrace-publisher.fetch"
"""Where any publisher answers, whether it leads or not."""

HEADER = Struct("<qqq")
"""Before the bytes of a piece: the dataset, the length of its whole value (or one of the two below), and where in it the bytes belong."""
GONE = -1
"""Instead of a length: the host has not got this dataset, or not any more. What came of it counts for nothing."""
WAIT = -2
"""Instead of a length: nothing has come yet. Ask again."""


class Fetch(Record, kw_only=True):
    """Bring these datasets of a job from this host."""

    columns: ClassVar = (("datasets", "attempts"),)
    tokens: ClassVar = ("job", "host")

    v: Version = since(1)
    job: str
    host: str
    datasets: list[Id]
    attempts: list[Attempt]
    """Per dataset."""


class Fetching(Record, kw_only=True):
    """The answer: pieces come for questions on `subject` that have `session` as their text. No session: too many others are served, ask
    again."""

    v: Version = since(1)
    session: str = ""
    subject: str = ""
