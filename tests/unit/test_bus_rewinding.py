"""A process detects that the log is older than what it knows of it."""

from __future__ import annotations

import pytest

from headrace.bus.frames import Record
from headrace.bus.rewinding import Known, difference

KNOWN = Known(read=10, time=5.0, written=12, msg_id=b"mine")


def message(time: float = 5.0, msg_id: str = "mine") -> Record:
    return Record(10, time, "s", b"", f"NATS/1.0\r\nNats-Msg-Id:{msg_id}\r\n\r\n".encode())


@pytest.mark.parametrize("known", [KNOWN, KNOWN._replace(read=0), KNOWN._replace(written=0)], ids=["both", "written", "read"])
def test_the_same_log_shows_nothing_also_if_it_has_grown_or_what_was_known_was_removed(known: Known) -> None:
    for last_seq in (12, 1000):
        for read in (message(), None):
            for written in (message(), None):
                assert difference(known, last_seq, read, written) == ""


def test_an_end_that_went_back() -> None:
    assert difference(KNOWN, 11, message(), message()) == "its last message is 11, but this process knows of 12"


def test_another_message_where_one_was_read() -> None:
    assert difference(KNOWN, 99, message(time=5.5), message()) == "message 10 is not the one that was read here"


def test_another_message_where_one_was_written() -> None:
    assert difference(KNOWN, 99, message(), message(msg_id="other")) == "message 12 is not the one that was written here"
