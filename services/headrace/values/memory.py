"""Memory that can hold an encoded value."""

import numpy as np

from headrace.values.layout import ALIGNMENT


def aligned_memory(nbytes: int) -> memoryview:
    """Return writable memory, not cleared, that starts at a multiple of `ALIGNMENT`, as an encoded value must."""
    room = np.empty(nbytes + ALIGNMENT, dtype=np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return memoryview(room)[start : start + nbytes]  # type: ignore[arg-type]
