"""One fetch of a client from one host: a pure state machine between the link and the client's requests.

Values and data arrive on the link, as bytes that this module does not interpret; the client gets pieces (`headrace_schemas.fetching`). The
machine grants one large dataset at a time, and reads it from the link no faster than the client takes it: `full` says when to pause. So a
fetch takes the same small amount of memory, whatever its size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from headrace.link import Data, Frame, Gone, Grant, Offer, Values, Want
from headrace.publisher.settings import FetchLimits
from headrace_schemas.fetching import GONE, HEADER, WAIT

END = b""
"""The piece that follows the last one."""
NOTHING_YET = HEADER.pack(0, WAIT, 0)
"""The piece that answers a request after it has waited long enough."""


class Relay:
    """One fetch. wanted: the attempt of each dataset. over: whether nothing more comes from the link."""

    def __init__(self, job: str, wanted: Mapping[int, int], limits: FetchLimits) -> None:
        self._job = job
        self._wanted = wanted
        self._limits = limits
        self._open = dict.fromkeys(wanted)
        self._offers: deque[int] = deque()
        self._granted: Data | None = None
        self._pieces: deque[bytes | bytearray] = deque()
        self._filling = bytearray()
        self._filled = self._total = self._start = self._end = 0

    def first_message(self) -> Want:
        """Return the first message to the host."""
        return Want(self._job, list(self._wanted), list(self._wanted.values()))

    def frame(self, frame: Frame, payload: memoryview) -> Grant | None:
        """Process a frame. Returns the answer to the host. Raises ValueError for a frame that is not allowed."""
        match frame:
            case Values(datasets=datasets, lengths=lengths):
                self._take_small(datasets, lengths, payload)
            case Offer(datasets=datasets):
                self._offers.extend(dataset for dataset in datasets if dataset in self._open)
            case Data(dataset=dataset):
                if self._end == self._total:
                    self._granted = None
                    self._settle([dataset])
            case Gone(datasets=datasets):
                self._lose(datasets)
            case _:
                raise ValueError("this side did not request it")
        return self._grant()

    def _grant(self) -> Grant | None:
        while self._granted is None and self._offers:
            dataset = self._offers.popleft()
            if dataset in self._open:
                self._granted = Data(self._job, dataset, self._wanted[dataset])
                return Grant(self._job, [dataset])
        return None

    # --- a large dataset, piece by piece ----------------------------------------------------------------------------------

    def expects(self, frame: Data, nbytes: int) -> bool:
        """Prepare for data of `nbytes` bytes, or a part of it. Returns whether it was granted and leaves no gap."""
        if self._granted is None or frame.dataset != self._granted.dataset:
            return False
        total = frame.size or nbytes
        if not frame.start:
            self._total, self._end, self._filled, self._filling = total, 0, 0, bytearray()
        if (frame.start, total) != (self._end, self._total) or frame.start + nbytes > total:
            return False
        self._start, self._end = frame.start, frame.start + nbytes
        return True

    def write(self, data: memoryview, start: int) -> None:
        """Put the next bytes of the data, from offset `start` of the announced part, into pieces."""
        start += self._start
        while data:
            if self._filled == len(self._filling):
                self._new_piece(start)
            count = min(len(data), len(self._filling) - self._filled)
            self._filling[self._filled : self._filled + count] = data[:count]
            self._filled += count
            data, start = data[count:], start + count
            if self._filled == len(self._filling):
                self._pieces.append(self._filling)

    def _new_piece(self, start: int) -> None:
        assert self._granted is not None
        length = HEADER.size + min(self._total - start, self._limits.piece_bytes)
        self._filling, self._filled = bytearray(length), HEADER.size
        HEADER.pack_into(self._filling, 0, self._granted.dataset, self._total, start)

    # --- everything else --------------------------------------------------------------------------------------------------

    def _take_small(self, datasets: Sequence[int], lengths: Sequence[int], payload: memoryview) -> None:
        start = 0
        for dataset, length in zip(datasets, lengths, strict=True):
            if dataset in self._open:
                self._pieces.append(HEADER.pack(dataset, length, 0) + payload[start : start + length])
            start += length
        self._settle(datasets)

    def _lose(self, datasets: Iterable[int]) -> None:
        lost = [dataset for dataset in datasets if dataset in self._open]
        if self._granted is not None and self._granted.dataset in lost:
            self._granted = None
        self._pieces.extend(HEADER.pack(dataset, GONE, 0) for dataset in lost)
        self._settle(lost)

    def _settle(self, datasets: Iterable[int]) -> None:
        for dataset in datasets:
            self._open.pop(dataset, None)

    def closed(self) -> None:
        """End the fetch because the link has closed: the missing datasets will not come."""
        self._lose(list(self._open))

    @property
    def over(self) -> bool:
        """Whether the link is no longer needed."""
        return not self._open

    @property
    def full(self) -> bool:
        """Whether so many pieces wait for the client that reading should pause."""
        return len(self._pieces) >= self._limits.pieces

    def take_piece(self) -> bytes | bytearray | None:
        """Return the next piece for the client; None if it has to wait, `END` if there are no more."""
        if self._pieces:
            return self._pieces.popleft()
        return None if self._open else END
