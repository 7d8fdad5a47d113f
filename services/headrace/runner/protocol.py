"""Frames between the agent and its runners, over a unix socket pair.

A frame is a 4-byte little-endian length and the MessagePack of one of these structs. Columns are parallel lists, as on the bus.
Both ends are the same release on the same machine, so the frames have no version; runners trust their agent and it bounds what it reads.
"""

from __future__ import annotations

import signal
import struct
from collections.abc import Iterator

import msgspec

from headrace_schemas import GraphSpec, SinkSpec, TaskError, Written

LENGTH = struct.Struct("<I")
NUDGE = signal.SIGURG
"""What an agent sends a runner that executes something for longer than was thought: send the results from before that. Ignored by default,
as in a process that a task starts."""
FRAME_LIMIT = 1 << 30
"""Bytes, to a runner. A graph is the largest frame; a length above this means that the stream is out of step."""
AGENT_FRAME_LIMIT = 1 << 28
"""Bytes, to the agent, which must not hold more for one runner: what small values come to in tens of milliseconds is a tenth of it."""


class Frame(msgspec.Struct, array_like=True):
    """Base of all frames."""


# --- agent to runner ------------------------------------------------------------------------------------------------


class SinksOfJob(Frame):
    """What a runner has to know to write outputs to their sinks: the job's id, its sink, if it has one, and where this is."""

    name: str
    host: str
    epoch: int
    sink: SinkSpec | None = None


class OpenJob(Frame, tag=1):
    """The graph of a job that segments will follow for. `job` is the agent's number for it, `name` its id in the cluster."""

    job: int
    graph: GraphSpec
    sinks: SinksOfJob | None = None
    """If any of its outputs goes to one."""
    name: str = ""


class CloseJob(Frame, tag=2):
    """Forget the job: queued segments, values kept for its chains, suspended generators."""

    job: int
    quietly: bool = False
    """Whether it is not to be answered, for nothing waits for that: the runner had executed all that it was sent of the job."""


Location = bytes | tuple[int, int, int]
"""An encoded value, or where it lies in the arena: (block id, offset, length in bytes)."""


class Run(Frame, tag=3):
    """Segments to execute, in this order. Tasks and inputs are concatenated; `lengths` and `counts` cut them up again."""

    job: int
    segments: list[int]
    chains: list[int]
    lengths: list[int]
    tasks: list[int]
    leaves: list[int]
    """Per task: 1 if its datasets leave the chain, 0 if a later task of the chain takes them, 2 if nothing needs them."""
    attempts: list[int]
    """Per task; empty if all are 0."""
    counts: list[int]
    """Per segment: number of inputs from outside the chain."""
    inputs: list[int]
    locations: list[Location]
    first: int = 0
    """Number of the first of these segments: segments are numbered in the order in which a runner is sent them."""


NO_ROOM_YET, NEVER = -1, -2


class Grant(Frame, tag=4):
    """Room for a dataset: write it there. The offset NO_ROOM_YET says to wait for a second grant, NEVER that none will come."""

    job: int
    dataset: int
    block: int
    offset: int
    why: str = ""
    """With NEVER: what is wrong, and what to do."""


class GrantSlab(Frame, tag=5):
    """Room for an array that a task is about to fill, with memory behind it. The offset NEVER says that there is none."""

    block: int
    offset: int
    nbytes: int


class Recall(Frame, tag=6):
    """These segments were not begun and are the agent's again: they run elsewhere. Answers the recall of this number on the status page."""

    number: int
    segments: list[int]


# --- runner to agent ------------------------------------------------------------------------------------------------


class Allocate(Frame, tag=11):
    """Asks for room for a dataset that leaves its chain."""

    job: int
    dataset: int
    nbytes: int
    segment: int


class Results(Frame, tag=12):
    """What a runner has done since its last frame, for one job."""

    job: int
    segments: list[int] = []
    """Executed to the end, and every dataset that leaves them is below or was before."""
    tasks: list[int] = []
    """Done, in segments that go on."""
    datasets: list[int] = []
    values: list[bytes | int] = []
    """Per dataset: its encoded value, or the id of the block that it was written to: one granted for it, or a slab, to which nothing in the
    runner writes any more."""
    metadata_ids: list[int] = []
    metadata: list[dict[str, object]] = []
    functions: list[int] = []
    """Profile: functions, how many of their tasks ended, their seconds together, and the longest."""
    function_counts: list[int] = []
    function_seconds: list[float] = []
    function_longest: list[float] = []
    failed: list[TaskError] = []
    failed_segments: list[int] = []
    typed: list[int] = []
    """Asked-for outputs among `datasets` that are one array."""
    dtypes: list[str] = []
    shapes: list[list[int]] = []
    written: list[Written] = []
    """Outputs that are in their sinks now."""


class Released(Frame, tag=13):
    """Views of these blocks are gone: so many of the mappings that Run asked for. Or a slab's array is, which was not returned."""

    blocks: list[int]
    counts: list[int]


class Closed(Frame, tag=14):
    """The answer to CloseJob: from here on nothing is written for the job, also not to places granted before."""

    job: int


class AllocateSlab(Frame, tag=15):
    """Asks for room for an array that may become a result, of whatever dataset. It is answered at once."""

    nbytes: int


ToRunner = OpenJob | CloseJob | Run | Grant | GrantSlab | Recall
ToAgent = Allocate | Results | Released | Closed | AllocateSlab

_encoder = msgspec.msgpack.Encoder()
_to_runner = msgspec.msgpack.Decoder(ToRunner)
_to_agent = msgspec.msgpack.Decoder(ToAgent)


def pack(*frames: Frame) -> bytearray:
    """Frames, each with its length in front."""
    packed = bytearray()
    for frame in frames:
        pack_behind(packed, frame)
    return packed


def pack_behind(packed: bytearray, frame: Frame) -> None:
    """Add a frame to others that are packed already."""
    body = _encoder.encode(frame)
    packed += LENGTH.pack(len(body))
    packed += body


class FrameBuffer:
    """Collects what a socket delivers and cuts it into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes | memoryview) -> None:
        """Add what was read."""
        self._data += data

    def _bodies(self, limit: int) -> Iterator[memoryview]:
        data, start = self._data, 0
        with memoryview(data) as view:
            while len(data) - start >= LENGTH.size:
                (length,) = LENGTH.unpack_from(data, start)
                if length > limit:
                    raise ValueError(f"a frame of {length} bytes: the stream is out of step")
                end = start + LENGTH.size + length
                if end > len(data):
                    break
                with view[start + LENGTH.size : end] as body:
                    yield body
                start = end
        del data[:start]

    def to_runner(self) -> list[ToRunner]:
        """Complete frames, decoded, at the runner's end. Raises ValueError or msgspec.DecodeError if the stream is corrupt."""
        return [_to_runner.decode(body) for body in self._bodies(FRAME_LIMIT)]

    def to_agent(self) -> list[ToAgent]:
        """The same at the agent's end."""
        return [_to_agent.decode(body) for body in self._bodies(AGENT_FRAME_LIMIT)]
