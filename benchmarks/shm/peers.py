"""What is measured of each way to share bytes between processes, and who is measured."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


class Reader(Protocol):
    """The reading process's end. It travels to that process by pickle."""

    def map(self, token: Any) -> Bytes:
        """The bytes of what was put, without reading them."""

    def drop(self) -> None:
        """Let go of what was mapped last; no array of it is left."""


class Writer(Protocol):
    """The writing process's end."""

    reader: Reader

    def put(self, data: Bytes) -> Any:
        """Copy an array to where the reader can map it by the token that is returned."""

    def purge(self, token: Any) -> None:
        """Give the memory back, for another put. The reader has dropped it."""

    def close(self) -> None:
        """End everything."""


def arena() -> Writer:
    """This library."""
    from benchmarks.shm.peer_arena import ArenaWriter

    return ArenaWriter()


def segments() -> Writer:
    """One segment of `multiprocessing.shared_memory` a value."""
    from benchmarks.shm.peer_segments import SegmentWriter

    return SegmentWriter()


def zict_files() -> Writer:
    """Files that `zict.File` writes and maps."""
    from benchmarks.shm.peer_zict import ZictWriter

    return ZictWriter()


def iceoryx() -> Writer:
    """Samples that a publisher of iceoryx2 loans and sends."""
    from benchmarks.shm.peer_iceoryx import IceoryxWriter

    return IceoryxWriter()


OPENERS: dict[str, tuple[str, Callable[[], Writer]]] = {
    "headrace_shm": ("headrace_shm", arena),
    "shared_memory": ("multiprocessing", segments),
    "zict.File": ("zict", zict_files),
    "iceoryx2": ("iceoryx2", iceoryx),
}
"""By name: the module that must be installed, and how to open it. Ray brings its own reading process: see `peer_ray`."""

NAMES = ("copy", *OPENERS, "ray")
"""All that can be measured, in the table's order."""


def installed(name: str) -> bool:
    """Whether what this peer needs can be imported here."""
    module = "numpy" if name == "copy" else OPENERS[name][0] if name in OPENERS else name
    return importlib.util.find_spec(module) is not None
