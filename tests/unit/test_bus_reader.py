"""The reader passes each complete message to its sink once and in order, and everything else to nats-py, however the bytes are split."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.bus.reader import Reader

Message = tuple[bytes, bytes, bytes, bytes]
SINK, OWN = 7, 9
"""Numbers of a subscription with a sink, and of one of nats-py's own."""


def _message(number: int, size: int, headers: bool, reply: bool) -> tuple[bytes, Message]:
    subject, data = b"a.%d" % number, b"x\r\nMSG "[: size % 8] + b"%d" % number * size
    answer = b"_INBOX.r" if reply else b""
    block = b"NATS/1.0\r\nKey:%d\r\n\r\n" % number if headers else b""
    words = [b"HMSG" if headers else b"MSG", subject, b"%d" % SINK]
    words += [answer] * reply + [b"%d" % len(block)] * headers + [b"%d" % (len(block) + len(data))]
    return b" ".join(words) + b"\r\n" + block + data + b"\r\n", (subject, answer, data, block)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.booleans()), max_size=8),
    st.lists(st.integers(1, 60), min_size=1, max_size=40),
    st.sampled_from([b"", b"+OK\r\n", b"PONG\r\n", b"\r\n", b"-ERR 'no'\r\n", b"MSG b %d 2\r\nhi\r\n" % OWN, b"MSG b 8 r 0\r\n\r\n"]),
)
def test_messages_in_pieces(messages: list[tuple[int, bool, bool]], cuts: list[int], between: bytes) -> None:
    sent = [_message(number, *shape) for number, shape in enumerate(messages)]
    stream = b"".join(between + frame for frame, _ in sent)
    got: list[Message] = []
    others: list[bytes] = []
    done: list[int] = []
    reader = Reader({SINK: lambda *parts: got.append(parts)}, others.append, lambda: done.append(len(got)))
    at = 0
    for cut in cuts * len(stream):
        if at >= len(stream):
            break
        reader.feed(stream[at : at + cut])
        at += cut
    assert got == [parts for _, parts in sent]
    assert others == [between] * (len(sent) if between else 0)
    assert not sent or done[-1] == len(sent)


def test_a_sink_that_raises_does_not_stop_the_next() -> None:
    got: list[bytes] = []

    def sink(subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if subject == b"a.0":
            raise RuntimeError("cannot")
        got.append(subject)

    reader = Reader({SINK: sink}, lambda data: None, lambda: None)
    reader.feed(_message(0, 3, False, False)[0] + _message(1, 3, False, False)[0])
    assert got == [b"a.1"]


def test_the_end_of_a_large_message_is_waited_for_and_not_looked_at() -> None:
    frame, message = _message(1, 5_000_000, True, True)
    got: list[Message] = []
    done: list[bool] = []
    reader = Reader({SINK: lambda *parts: got.append(parts)}, lambda data: None, lambda: done.append(True))
    for at in range(0, len(frame), 65_536):
        reader.feed(frame[at : at + 65_536])
    assert got == [message]
    assert len(done) == 2
