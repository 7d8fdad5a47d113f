"""Frames, reply subjects, headers and acknowledgements are written and read byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.protocol.parser import HMSG_RE

from headrace.bus import frames
from headrace.bus.settings import BusSettings


def test_a_frame_without_headers() -> None:
    assert frames.pub("a.b", "r.1", "", b"xyz") == b"PUB a.b r.1 3\r\nxyz\r\n"


@given(st.binary(max_size=300), st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
def test_the_sizes_in_a_frame_with_headers_are_right(data: bytes, value: str) -> None:
    frame = frames.pub("a.b", "r.1", frames.header("Nats-Msg-Id", value), data)
    line, _, rest = frame.partition(b"\r\n")
    block, total = map(int, line.split()[-2:])
    assert HMSG_RE.match(line.replace(b"HPUB a.b", b"HMSG a.b 1") + b"\r\n")
    assert len(rest) == total + 2
    assert rest[:block].endswith(b"\r\n\r\n")
    assert rest[block:-2] == data
    assert frames.value_of(rest[:block], b"Nats-Msg-Id").decode() == value
    assert frames.status(rest[:block]) == 0


def test_a_header_value_cannot_break_out_of_its_line() -> None:
    with pytest.raises(ValueError, match="Nats-Msg-Id"):
        frames.header("Nats-Msg-Id", "a\r\nNats-Rollup: all")


@pytest.mark.parametrize(
    "reply", [b"$JS.ACK.LOG.c.1.5.2.1700000000000000000.7", b"$JS.ACK.hub.ACCOUNT.LOG.c.1.5.2.1700000000000000000.7.token"]
)
def test_both_forms_of_the_reply_subject(reply: bytes) -> None:
    assert frames.delivery(reply) == (5, 2, 1_700_000_000_000_000_000, 7)


def test_another_reply_subject_is_refused() -> None:
    with pytest.raises(ValueError, match="is not the reply subject"):
        frames.delivery(b"_INBOX.abc.1")


def test_status_lines_and_headers() -> None:
    heartbeat = b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 12\r\nNats-Last-Stream: 15\r\n\r\n"
    assert frames.status(heartbeat) == 100
    assert frames.status(b"NATS/1.0 503\r\n\r\n") == 503
    assert frames.status(b"") == 0
    assert frames.value_of(heartbeat, b"Nats-Last-Consumer") == b"12"
    assert frames.value_of(heartbeat, b"Last-Consumer") == b""


def test_acknowledgements() -> None:
    assert frames.ack(b'{"stream":"LOG","seq":7,"duplicate":true,"new_field":1}').seq == 7
    error = frames.ack(b'{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 2"},"stream":"T","seq":0}').error
    assert error is not None
    assert error.err_code in frames.WRONG_SEQUENCE


def test_settings_come_from_variables_and_go_into_them() -> None:
    env = {"HEADRACE_URL": "nats://h:1", "HEADRACE_TOKEN": "t", "HEADRACE_CONNECT_TIMEOUT": "2.5", "HEADRACE_OTHER": "x"}
    settings = BusSettings.from_env(env)
    assert settings == BusSettings(url="nats://h:1", token="t", connect_seconds=2.5)
    assert BusSettings.from_env(settings.to_env()) == settings
