"""Measures how much of what was written to a TCP connection the other end's system has taken, where this system (Linux) knows it."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import termios
from typing import NamedTuple

_TCP_INFO_BYTES = 128
_BYTES_ACKED = 120
"""Offset of `tcpi_bytes_acked` in Linux's `struct tcp_info`."""


class Unsent(NamedTuple):
    """queued: bytes that this system holds and the other has not acknowledged. taken: bytes that it has acknowledged so far."""

    queued: int
    taken: int


def unsent(file_descriptor: int) -> Unsent:
    """Measure a connected TCP socket. Returns zeros where the system does not know."""
    if sys.platform != "linux":
        return Unsent(0, 0)
    try:
        queued = struct.unpack("i", fcntl.ioctl(file_descriptor, termios.TIOCOUTQ, bytes(4)))[0]
        with socket.socket(fileno=file_descriptor) as borrowed:
            try:
                info = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            finally:
                borrowed.detach()
    except OSError:  # the socket is closed, or is not a TCP socket
        return Unsent(0, 0)
    return Unsent(queued, struct.unpack_from("Q", info, _BYTES_ACKED)[0] if len(info) >= _TCP_INFO_BYTES else 0)
