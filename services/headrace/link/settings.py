"""Limits and waits of the links between hosts, each with its unit and its reason."""

from typing import Final

VERSION: Final = 2
"""Of the frames and the handshake; both ends must have the same."""

MAX_HEADER_BYTES: Final = 4 << 20
"""Bytes of one frame's header: some 400,000 dataset ids in three columns. What is longer is a bug or an attack."""
MAX_VALUES_BYTES: Final = 8 << 20
"""Bytes of the small values in one `Values` frame: a thousand of the 8 KiB that travel inline."""
MAX_HANDSHAKE_BYTES: Final = 1 << 10
"""Bytes of a header before authentication: a stranger can make us hold no more than this."""
MAX_NAME_BYTES: Final = 200
"""Bytes of a peer's, a role's and a job's name; all three fit in a handshake frame, with the nonce and the proof."""

NONCE_BYTES: Final = 32
"""As long as the SHA-256 that it goes into, so that no two handshakes are ever the same."""
MIN_KEY_BYTES: Final = 16
"""128 bits: shorter keys can be guessed, and an empty one lets everybody in."""
HANDSHAKE_DEADLINE_S: Final = 5.0
"""Seconds from the connection to the proof: many round trips on any network, short enough that silent strangers do not pile up."""
MAX_UNPROVED: Final = 512
"""Links at a time whose other side has not proved itself: a few megabytes, and more than peers that connect at once after a pause."""
MAX_LINKS_OF_A_PEER: Final = 256
"""Links at a time of one host, or of all clients of one job: a host needs one, a client one for each of its fetches."""
CONNECT_DEADLINE_S: Final = 2.0
"""Seconds to reach the other host: covers a retransmission of a lost SYN, after 1 s. Who needs the link tries again half a second later,
so that a network that works again is noticed soon."""

HANDSHAKE_BUFFER_BYTES: Final = 2 << 10
"""Bytes to receive into before authentication: the longest handshake frame with its prefix, and some of what follows."""
RECEIVE_BUFFER_BYTES: Final = 64 << 10
"""Bytes to receive small frames into. At most this much of a `Data` payload is copied (from cache); the rest is received in place."""
PASSAGE_BYTES: Final = 1 << 20
"""Bytes at a time of a payload that is written to its place: few enough to stay in the cache, and a thousand calls for a gigabyte."""
SLICE_BYTES: Final = 4 << 20
"""Bytes of a large payload given to the transport at once: about what a socket buffer takes, so other links get their turn in between."""
KEEPALIVE_IDLE_S: Final = 1
"""Seconds of silence before the kernel asks whether the other host still lives."""
KEEPALIVE_INTERVAL_S: Final = 1
"""Seconds between its questions."""
KEEPALIVE_PROBES: Final = 3
"""Questions without an answer that end the link where nothing else does. The kernel answers, so a process that stands still keeps its
links."""
ASKING_MS: Final = 5_000
"""Milliseconds after which the side that opened a link ends it if the other side acknowledges nothing: five retransmissions at least. It
asks for data, and can ask again."""
ANSWERING_MS: Final = 60_000
"""The same for the side that accepted the link. It sends data, and for the kernel, a process that does not read for so long is as good as
gone: a client may stand still for a while."""

# The socket buffers are left as they are on purpose: Linux tunes them up to 4 to 6 MiB by itself, while setting
# SO_SNDBUF or SO_RCVBUF turns that off and is capped at net.core.{w,r}mem_max, 208 KiB by default.
