"""A process that attaches to an arena, for the tests beside it. It does what its standard input says and answers on its standard output.

    python shm_child.py inherited FD        the arena is the inherited descriptor FD
    python shm_child.py socket FD           the arena's descriptor comes over the inherited unix socket FD

Each request and each answer is one line of JSON. The views it keeps live until `drop`, or until it dies.
"""

import json
import socket
import sys
import zlib
from typing import Any

import numpy as np

from headrace_shm import Arena


def attach(how: str, fd: int) -> Arena:
    """Join the arena in the way the command line says."""
    if how == "inherited":
        return Arena.attach(fd)
    with socket.socket(fileno=fd) as link:
        _, received, _, _ = socket.recv_fds(link, 1, 1)
    return Arena.attach(received[0])


class Child:
    """The requests, one method each."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.kept: dict[int, Any] = {}
        self.ended: list[int] = []

    def keep(self, block: int, offset: int, nbytes: int) -> int:
        """Keep an array on a block; answers its checksum."""
        view = self.arena.readonly(offset, nbytes, lambda: self.ended.append(block))
        self.kept[block] = np.frombuffer(view, np.uint8)[:]
        return self.check(block)

    def check(self, block: int) -> int:
        """The checksum of the bytes that a kept array shows now."""
        return zlib.crc32(self.kept[block])

    def drop(self, block: int) -> list[int]:
        """Let go of a kept array; answers the blocks whose last view ended since it last said so."""
        del self.kept[block]
        ended, self.ended = self.ended, []
        return ended

    def fill(self, offset: int, nbytes: int, value: int) -> int:
        """Write one value into all bytes of a place."""
        np.frombuffer(self.arena.writable(offset, nbytes), np.uint8)[:] = value
        return nbytes


def main() -> None:
    """Serve until the input ends."""
    child = Child(attach(sys.argv[1], int(sys.argv[2])))
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(getattr(child, name)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
