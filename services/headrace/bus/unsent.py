"""How much of what was written to a TCP connection the other end's system has taken, as far as this system tells (Linux does)."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import termios
from typing import NamedTuple

_TCP_INFO_BYTES = 128
_BYTES_ACKED = 120
"""Where `tcpi_bytes_acked` is in Linux's `struct tcp_info`."""


class Unsent(NamedTuple):
    """queued: bytes that this system holds and the other has not acknowledged. taken: bytes that it has acknowledged so far."""

    queued: int
    taken: int


def unsent(file_descriptor: int) -> Unsent:
    """Look at a connected TCP socket. Zeros where the system does not tell."""
    if sys.platform != "linux":
        return Unsent(0, 0)
    try:
        queued = struct.unpack("i", fcntl.ioctl(file_descriptor, termios.TIOCOUTQ, bytes(4)))[0]
        with socket.socket(fileno=file_descriptor) as borrowed:
            try:
                info = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            finally:
                borrowed.detach()
    except OSError:  # it is closed, or no TCP socket
        return Unsent(0, 0)
    return Unsent(queued, struct.unpack_from("Q", info, _BYTES_ACKED)[0] if len(info) >= _TCP_INFO_BYTES else 0)
