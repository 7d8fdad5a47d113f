"""Frames between the agent and its runners, over a unix socket pair.

A frame is a 4-byte little-endian length and the MessagePack of one of these structs. Columns are parallel lists, as on the bus.
Both ends are the same release on the same machine, so frames have no version. Runners trust their agent; the agent checks what it reads.
"""

from __future__ import annotations

import signal
import struct
from collections.abc import Iterator

import msgspec

from headrace_schemas import GraphSpec, SinkSpec, TaskError, Written

LENGTH = struct.Struct("<I")
NUDGE = signal.SIGURG
"""The signal by which an agent asks a runner that executes a task for longer than expected to send the results from before it. Processes
ignore it by default, as those do that a task starts."""
FRAME_LIMIT = 1 << 30
"""Bytes in a frame to a runner. A graph is the largest frame; a greater length means that the stream is corrupt."""
AGENT_FRAME_LIMIT = 1 << 28
"""Bytes in a frame to the agent, which bounds what it holds for one runner. The small results of tens of milliseconds are a tenth of it."""


class Frame(msgspec.Struct, array_like=True):
    """Base of all frames."""


# --- agent to runner ------------------------------------------------------------------------------------------------


class SinksOfJob(Frame):
    """What a runner needs to write outputs to their sinks: the job's id, the host and its epoch, and the job's sink, if it has one."""

    name: str
    host: str
    epoch: int
    sink: SinkSpec | None = None


class OpenJob(Frame, tag=1):
    """The graph of a job, before its first segments. `job` is the agent's number for the job, `name` its id in the cluster."""

    job: int
    graph: GraphSpec
    sinks: SinksOfJob | None = None
    """Set if any output of the job is written to a sink."""
    name: str = ""


class CloseJob(Frame, tag=2):
    """Drop a job: its queued segments, the values kept for its chains, its suspended generators."""

    job: int
    quietly: bool = False
    """Whether the runner sends no answer. Nobody waits for one: the runner had executed all segments of the job that it was sent."""


Location = bytes | tuple[int, int, int]
"""An encoded value, or its place in the arena: (block id, offset, length in bytes)."""


class Run(Frame, tag=3):
    """Segments to execute, in this order. Their tasks and inputs are concatenated; `lengths` and `counts` say where to cut."""

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
    """Number of the first of these segments. Segments are numbered in the order in which a runner is sent them."""


NO_ROOM_YET, NEVER = -1, -2


class Grant(Frame, tag=4):
    """Room for a dataset. The offset NO_ROOM_YET says to wait for another grant, the offset NEVER that there will be no room."""

    job: int
    dataset: int
    block: int
    offset: int
    why: str = ""
    """With NEVER: what was wrong, and what to do."""


class GrantSlab(Frame, tag=5):
    """Room for an array that a task is about to fill, with memory behind it. The offset NEVER says that there is no room."""

    block: int
    offset: int
    nbytes: int


class Recall(Frame, tag=6):
    """Segments that the runner must not begin: they run elsewhere. Answers the recall of this number on the status page."""

    number: int
    segments: list[int]


# --- runner to agent ------------------------------------------------------------------------------------------------


class Allocate(Frame, tag=11):
    """A request for room for a dataset that leaves its chain."""

    job: int
    dataset: int
    nbytes: int
    segment: int


class Results(Frame, tag=12):
    """What a runner has done for one job since its last frame."""

    job: int
    segments: list[int] = []
    """Segments executed to the end. Every dataset that leaves them is in this frame or in an earlier one."""
    tasks: list[int] = []
    """Tasks executed, of segments that go on."""
    datasets: list[int] = []
    values: list[bytes | int] = []
    """Per dataset: its encoded value, or the id of the block that holds it. The block was granted for it or is a slab, and nothing in the
    runner writes to it any more."""
    metadata_ids: list[int] = []
    metadata: list[dict[str, object]] = []
    functions: list[int] = []
    """Profile: functions, and per function the number of tasks that ended, the sum of their durations in seconds, and the longest."""
    function_counts: list[int] = []
    function_seconds: list[float] = []
    function_longest: list[float] = []
    failed: list[TaskError] = []
    failed_segments: list[int] = []
    typed: list[int] = []
    """Outputs of the job among `datasets` that are one array, with its type and shape in the next columns."""
    dtypes: list[str] = []
    shapes: list[list[int]] = []
    written: list[Written] = []
    """Outputs that were written to their sinks."""


class Released(Frame, tag=13):
    """Blocks that the runner refers to no longer: inputs, as often as a Run named them, and slabs that were not returned as results."""

    blocks: list[int]
    counts: list[int]


class Closed(Frame, tag=14):
    """The answer to CloseJob: the runner writes nothing more for the job, not even to blocks that were granted before."""

    job: int


class AllocateSlab(Frame, tag=15):
    """A request for room for an array that may become a result, of any dataset. The agent answers at once."""

    nbytes: int


ToRunner = OpenJob | CloseJob | Run | Grant | GrantSlab | Recall
ToAgent = Allocate | Results | Released | Closed | AllocateSlab

_encoder = msgspec.msgpack.Encoder()
_to_runner = msgspec.msgpack.Decoder(ToRunner)
_to_agent = msgspec.msgpack.Decoder(ToAgent)


def pack(*frames: Frame) -> bytearray:
    """Encode frames, each behind its length."""
    packed = bytearray()
    for frame in frames:
        pack_behind(packed, frame)
    return packed


def pack_behind(packed: bytearray, frame: Frame) -> None:
    """Append a frame to others that are packed already."""
    body = _encoder.encode(frame)
    packed += LENGTH.pack(len(body))
    packed += body


class FrameBuffer:
    """Collects what a socket delivers and cuts it into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes | memoryview) -> None:
        """Append bytes that were read."""
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
        """Return the complete frames, at the runner's end. Raises ValueError or msgspec.DecodeError if the stream is corrupt."""
        return [_to_runner.decode(body) for body in self._bodies(FRAME_LIMIT)]

    def to_agent(self) -> list[ToAgent]:
        """Return the complete frames, at the agent's end. Raises ValueError or msgspec.DecodeError if the stream is corrupt."""
        return [_to_agent.decode(body) for body in self._bodies(AGENT_FRAME_LIMIT)]
