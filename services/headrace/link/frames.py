"""The frames of a link: what two processes of the data plane say to each other.

On the wire a frame is a prefix ``<IQ`` (length of the header, length of the payload, in bytes), the header (msgpack of
one of these structs, as an array whose first item is its tag), and the payload, raw. Only `Values` and `Data` have one.

A consumer says `Want`; the producer answers, as the datasets come to exist, with `Values` (small ones, at once) or
`Offer` (large ones); the consumer makes room, says `Grant`, and is sent a `Data` for each. What is not there any more
is `Gone`. Columns of one frame have the same length: item i of each is about dataset i.

A large dataset that several hosts grant goes from one to the next: the producer answers all but the first with `Relay`,
they say `Grant` to the host that it names, and that one passes the bytes on while it still receives them. Then there are
several `Data` for a dataset, a piece in each, in order; so there are where the producer reads it from disk.
"""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from headrace.link.settings import MAX_NAME_BYTES, NONCE_BYTES

Name = Annotated[str, Meta(max_length=MAX_NAME_BYTES)]
Count = Annotated[int, Meta(ge=0)]
Nonce = Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]


class Want(msgspec.Struct, frozen=True, array_like=True, tag="want"):
    """Send me these datasets, of these attempts, as soon as they exist. May be said again.

    `address` is where other hosts reach this one, if it may be told to pass datasets on; clients have none.
    """

    job: str
    datasets: list[Count]
    attempts: list[Count]
    address: Name = ""


class Unwant(msgspec.Struct, frozen=True, array_like=True, tag="unwant"):
    """I need these no longer."""

    job: str
    datasets: list[Count]


class Grant(msgspec.Struct, frozen=True, array_like=True, tag="grant"):
    """There is room for these offers now: send their bytes, in this order.

    `starts`, where given, says how many bytes of each are there already, from a host that failed in the middle.
    """

    job: str
    datasets: list[Count]
    starts: list[Count] = []


class Values(msgspec.Struct, frozen=True, array_like=True, tag="values"):
    """Small datasets at once. Payload: their encoded values, one after another, of `lengths` bytes each."""

    job: str
    datasets: list[Count]
    attempts: list[Count]
    lengths: list[Count]


class Offer(msgspec.Struct, frozen=True, array_like=True, tag="offer"):
    """These datasets exist here and are this large, in bytes: grant them when there is room."""

    job: str
    datasets: list[Count]
    attempts: list[Count]
    sizes: list[Count]


class Relay(msgspec.Struct, frozen=True, array_like=True, tag="relay"):
    """The answer to a grant where another host is granted the dataset too: have it from `host`, of this epoch, at `address`.

    `depth` is how many hosts the bytes go through on the way. Who grants it here again is sent it from here.
    """

    job: str
    dataset: Count
    host: Name
    address: Name
    epoch: Count
    depth: Annotated[int, Meta(ge=1)]


class Data(msgspec.Struct, frozen=True, array_like=True, tag="data"):
    """One granted dataset, or a piece of it. Payload: its encoded value, of exactly the size that was offered; or, where `size`
    is not 0, some bytes of it, the first of them at `start`."""

    job: str
    dataset: Count
    attempt: Count
    start: Count = 0
    size: Count = 0


class Gone(msgspec.Struct, frozen=True, array_like=True, tag="gone"):
    """These were here and are not any more."""

    job: str
    datasets: list[Count]


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """The first frame, from the side that connected. `job` is named by a client, which has that job's key only."""

    version: int
    peer: Name
    role: Name
    epoch: Count
    nonce: Nonce
    job: Name | None = None


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag="welcome"):
    """The answer, with the proof that the side that was connected to has the key."""

    version: int
    peer: Name
    role: Name
    epoch: Count
    nonce: Nonce
    proof: bytes


class Proof(msgspec.Struct, frozen=True, array_like=True, tag="proof"):
    """The proof that the side that connected has the key; the link is open."""

    proof: bytes


Frame: TypeAlias = Want | Unwant | Grant | Values | Offer | Relay | Data | Gone
"""What goes over an open link."""
HandshakeFrame: TypeAlias = Hello | Welcome | Proof
"""What goes over a link before it is open."""


def columns_differ(frame: Frame) -> bool:
    """Whether the columns of `frame` are not of one length."""
    match frame:
        case Want(datasets=datasets, attempts=attempts):
            return len(datasets) != len(attempts)
        case Values(datasets=datasets, attempts=attempts, lengths=sizes) | Offer(datasets=datasets, attempts=attempts, sizes=sizes):
            return not len(datasets) == len(attempts) == len(sizes)
        case Grant(datasets=datasets, starts=starts):
            return bool(starts) and len(starts) != len(datasets)
    return False
