"""Limits and timeouts of the links between hosts, each with its unit and its reason."""

from typing import Final

VERSION: Final = 2
"""Version of the frames and the handshake; both ends must have the same one."""

MAX_HEADER_BYTES: Final = 4 << 20
"""Bytes of one frame's header: some 400,000 dataset ids in three columns. A longer header is a bug or an attack."""
MAX_VALUES_BYTES: Final = 8 << 20
"""Bytes of the small values in one `Values` frame: a thousand of the 8 KiB that travel inline."""
MAX_HANDSHAKE_BYTES: Final = 1 << 10
"""Bytes of a header before authentication: a stranger can make this process hold no more than this."""
MAX_NAME_BYTES: Final = 200
"""Bytes of a peer's, a role's and a job's name; all three fit in a handshake frame, with the nonce and the proof."""

NONCE_BYTES: Final = 32
"""As long as the SHA-256 that it goes into, so that no two handshakes are the same."""
MIN_KEY_BYTES: Final = 16
"""128 bits: shorter keys can be guessed, and an empty one lets anyone in."""
HANDSHAKE_DEADLINE_S: Final = 5.0
"""Seconds from the connection to the proof: many round trips on any network, but short enough that silent strangers do not accumulate."""
MAX_UNPROVED: Final = 512
"""Links at a time whose peer has not proved its identity. They take a few megabytes, and are more than the peers that connect at once after
a pause."""
MAX_LINKS_OF_A_PEER: Final = 256
"""Links at a time of one host, or of all clients of one job: a host needs one, a client one for each of its fetches."""
CONNECT_DEADLINE_S: Final = 2.0
"""Seconds to reach the other host: includes a retransmission of a lost SYN, after 1 s. A caller that needs the link tries again half a
second later, so that it soon notices when the network works again."""

HANDSHAKE_BUFFER_BYTES: Final = 2 << 10
"""Bytes to receive into before authentication: the longest handshake frame with its prefix, and some of what follows."""
RECEIVE_BUFFER_BYTES: Final = 64 << 10
"""Bytes to receive small frames into. At most this much of a `Data` payload is copied (from cache); the rest is received in place."""
PASSAGE_BYTES: Final = 1 << 20
"""Bytes at a time of a payload that is written to a `Place`: few enough to stay in the cache, and a thousand calls for a gigabyte."""
SLICE_BYTES: Final = 4 << 20
"""Bytes of a large payload that the transport gets at once: about what a socket buffer holds, so that other links get their turn in
between."""
KEEPALIVE_IDLE_S: Final = 1
"""Seconds of silence before the kernel probes whether the other host is alive."""
KEEPALIVE_INTERVAL_S: Final = 1
"""Seconds between the probes."""
KEEPALIVE_PROBES: Final = 3
"""Unanswered probes that end a link if nothing else does. The kernel answers them, so a process that pauses keeps its links."""
ASKING_MS: Final = 5_000
"""Milliseconds after which the side that opened a link ends it if the peer acknowledges nothing: at least five retransmissions. This side
requests data, and can request it again."""
ANSWERING_MS: Final = 60_000
"""Milliseconds after which the side that accepted a link ends it if the peer acknowledges nothing. This side sends data, and to the kernel
a process that does not read for that long looks gone; but a client may pause for a while."""

# The socket buffers keep their defaults on purpose: Linux tunes them up to 4 to 6 MiB by itself, while setting
# SO_SNDBUF or SO_RCVBUF turns that off, and is limited to net.core.{w,r}mem_max, 208 KiB by default.
