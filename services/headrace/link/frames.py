"""The frames of a link: the messages between two processes of the data plane.

On the wire a frame is a prefix ``<IQ`` (length of the header, length of the payload, in bytes), the header (msgpack of one of these
structs, as an array whose first item is its tag), and the raw payload. Only `Values` and `Data` have a payload.

A consumer sends `Want`. As the datasets come to exist, the producer answers with `Values` (small ones, at once) or `Offer` (large ones).
The consumer makes room and sends `Grant`, and the producer sends a `Data` for each. `Gone` names datasets that no longer exist. Columns of
one frame have the same length: item i of each is about dataset i.

If several hosts grant a large dataset, it goes from one to the next. The producer answers all but the first with `Relay`. They send `Grant`
to the host that it names, and that host passes the bytes on while it still receives them. Then a dataset consists of several `Data`, a
piece in each, in order. The same holds if the producer reads it from disk.
"""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from headrace.link.settings import MAX_NAME_BYTES, NONCE_BYTES

Name = Annotated[str, Meta(max_length=MAX_NAME_BYTES)]
Count = Annotated[int, Meta(ge=0)]
Nonce = Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]


class Want(msgspec.Struct, frozen=True, array_like=True, tag="want"):
    """Ask for these datasets, of these attempts, as soon as they exist. May be sent again.

    `address` is where other hosts reach this one, if it may be told to pass datasets on; clients have none.
    """

    job: str
    datasets: list[Count]
    attempts: list[Count]
    address: Name = ""


class Unwant(msgspec.Struct, frozen=True, array_like=True, tag="unwant"):
    """Withdraw a want."""

    job: str
    datasets: list[Count]


class Grant(msgspec.Struct, frozen=True, array_like=True, tag="grant"):
    """Accept these offers: send the bytes, in this order, because there is room now.

    `starts`, if given, says how many bytes of each are already here, from a host that failed in the middle.
    """

    job: str
    datasets: list[Count]
    starts: list[Count] = []


class Values(msgspec.Struct, frozen=True, array_like=True, tag="values"):
    """Send small datasets at once. Payload: their encoded values, one after another, of `lengths` bytes each."""

    job: str
    datasets: list[Count]
    attempts: list[Count]
    lengths: list[Count]


class Offer(msgspec.Struct, frozen=True, array_like=True, tag="offer"):
    """Offer datasets that exist here, with their sizes in bytes. The consumer grants them when it has room."""

    job: str
    datasets: list[Count]
    attempts: list[Count]
    sizes: list[Count]


class Relay(msgspec.Struct, frozen=True, array_like=True, tag="relay"):
    """Answer a grant of a dataset that another host is also granted: fetch it from `host`, of this epoch, at `address`.

    `depth` is the number of hosts that the bytes pass through. If the consumer grants it here again, this host sends it.
    """

    job: str
    dataset: Count
    host: Name
    address: Name
    epoch: Count
    depth: Annotated[int, Meta(ge=1)]


class Data(msgspec.Struct, frozen=True, array_like=True, tag="data"):
    """Send one granted dataset, or a piece of it.

    Payload: its encoded value, of exactly the offered size; or, if `size` is not 0, some bytes of it, beginning at offset `start`.
    """

    job: str
    dataset: Count
    attempt: Count
    start: Count = 0
    size: Count = 0


class Gone(msgspec.Struct, frozen=True, array_like=True, tag="gone"):
    """Report datasets that this host no longer has."""

    job: str
    datasets: list[Count]


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """The first frame, from the side that connected. A client names its `job`, because it has only that job's key."""

    version: int
    peer: Name
    role: Name
    epoch: Count
    nonce: Nonce
    job: Name | None = None


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag="welcome"):
    """The answer to `Hello`, with the proof that the accepting side has the key."""

    version: int
    peer: Name
    role: Name
    epoch: Count
    nonce: Nonce
    proof: bytes


class Proof(msgspec.Struct, frozen=True, array_like=True, tag="proof"):
    """The proof that the connecting side has the key. With it, the link is open."""

    proof: bytes


Frame: TypeAlias = Want | Unwant | Grant | Values | Offer | Relay | Data | Gone
"""The frames of an open link."""
HandshakeFrame: TypeAlias = Hello | Welcome | Proof
"""The frames of a link that is not yet open."""


def columns_differ(frame: Frame) -> bool:
    """Return whether the columns of `frame` differ in length."""
    match frame:
        case Want(datasets=datasets, attempts=attempts):
            return len(datasets) != len(attempts)
        case Values(datasets=datasets, attempts=attempts, lengths=sizes) | Offer(datasets=datasets, attempts=attempts, sizes=sizes):
            return not len(datasets) == len(attempts) == len(sizes)
        case Grant(datasets=datasets, starts=starts):
            return bool(starts) and len(starts) != len(datasets)
    return False
