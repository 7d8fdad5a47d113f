"""The handshake that authenticates both sides of a link before anything else counts. No I/O: it turns frames into frames.

Hosts have the key of the cluster; a client has the key of its job, which is derived from the cluster's. Each side proves that it has the
key by an HMAC over everything that both have said, including two fresh nonces:

    initiator -> responder   Hello(version, peer, role, epoch, nonce, job)
    responder -> initiator   Welcome(version, peer, role, epoch, nonce, proof = HMAC(key, "responder" + both frames))
    initiator -> responder   Proof(HMAC(key, "initiator" + both frames))

The nonces prevent the replay of a recorded proof, the words "responder" and "initiator" prevent sending a proof back to its author, and the
frames bind names, roles, epochs and the job to the proof. The initiator checks the responder's proof before it sends its own.

The frames after the handshake are neither encrypted nor signed: whoever can change bytes on the network between the hosts can change
values. Where that is a danger, protect the network itself.
"""

import hmac
import secrets
from typing import Final, NamedTuple, Protocol

import msgspec

from headrace.link.errors import LinkRefused
from headrace.link.frames import HandshakeFrame, Hello, Proof, Welcome
from headrace.link.settings import MAX_NAME_BYTES, MIN_KEY_BYTES, NONCE_BYTES, VERSION

CLIENT: Final = "client"
"""The role that is bound to one job, and has only that job's key."""

_CONTEXT: Final = b"headrace-link-1\0"  # keeps these MACs different from those of `job_key`


class Identity(NamedTuple):
    """The identity of one side of a link: its unique name, its role, and its epoch (0 if it has none)."""

    peer: str
    role: str
    epoch: int = 0


class Peer(NamedTuple):
    """The proved identity of the peer. job: the only job that the link may name; None for all."""

    peer: str
    role: str
    epoch: int
    job: str | None


class Handshake(Protocol):
    """One side of the handshake. `peer` is set once the peer has proved its identity."""

    peer: Peer | None

    def begin(self) -> HandshakeFrame | None:
        """Return the frame to send first, if it is this side's turn."""

    def received(self, frame: HandshakeFrame) -> HandshakeFrame | None:
        """Return the answer to `frame`. Raises `LinkRefused` if the frame is out of turn, or its proof is wrong."""


def job_key(cluster_key: bytes, job: str) -> bytes:
    """Return the key of the clients of `job`, 32 bytes. It does not reveal the cluster's key."""
    return hmac.digest(check_key(cluster_key), b"job:" + job.encode(), "sha256")


def check_key(key: bytes) -> bytes:
    """Return `key`. Raises `ValueError` if it is so short that it could be guessed."""
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"a link key of {len(key)} bytes is too short: use at least {MIN_KEY_BYTES} random bytes")
    return key


def _check_names(*names: str) -> None:
    for name in names:
        if len(name.encode()) > MAX_NAME_BYTES:
            raise ValueError(f"the name {name!r} is longer than {MAX_NAME_BYTES} bytes")


def _prove(key: bytes, who: bytes, hello: Hello, welcome: Welcome) -> bytes:
    said = msgspec.msgpack.encode((hello, msgspec.structs.replace(welcome, proof=b"")))
    return hmac.digest(key, _CONTEXT + who + b"\0" + said, "sha256")


def _check_version(frame: Hello | Welcome) -> None:
    if frame.version != VERSION:
        raise LinkRefused(
            f"{frame.role} {frame.peer!r} speaks version {frame.version} of the link, not {VERSION}: run the same Headrace on both"
        )


def _out_of_turn(frame: HandshakeFrame) -> LinkRefused:
    return LinkRefused(f"a {type(frame).__name__} frame out of turn in the handshake")


class Initiator:
    """The side that connected. With a `job`, `key` is that job's, and the role must be "client"; otherwise it is the cluster's."""

    def __init__(self, me: Identity, key: bytes, job: str | None = None) -> None:
        if (me.role == CLIENT) != (job is not None):
            raise ValueError(f"role {me.role!r} with job {job!r}: a client names its job, and only a client does")
        _check_names(me.peer, me.role, job or "")
        self.peer: Peer | None = None
        self._key = check_key(key)
        self._hello = Hello(VERSION, me.peer, me.role, me.epoch, secrets.token_bytes(NONCE_BYTES), job)

    def begin(self) -> HandshakeFrame | None:
        """Return `Hello`."""
        return self._hello

    def received(self, frame: HandshakeFrame) -> HandshakeFrame | None:
        """Return `Proof`, in answer to a valid `Welcome`."""
        if not isinstance(frame, Welcome) or self.peer is not None:
            raise _out_of_turn(frame)
        _check_version(frame)
        if not hmac.compare_digest(frame.proof, _prove(self._key, b"responder", self._hello, frame)):
            raise LinkRefused(
                f"{frame.role} {frame.peer!r} did not prove that it has our key: the keys differ, or it is not who it claims to be"
            )
        self.peer = Peer(frame.peer, frame.role, frame.epoch, self._hello.job)
        return Proof(_prove(self._key, b"initiator", self._hello, frame))


class Responder:
    """The side that accepted the connection. It has the cluster's key, from which it derives every job's."""

    def __init__(self, me: Identity, cluster_key: bytes) -> None:
        _check_names(me.peer, me.role)
        self.peer: Peer | None = None
        self._me = me
        self._cluster_key = check_key(cluster_key)
        self._claimed: Peer | None = None
        self._expected = b""

    def begin(self) -> HandshakeFrame | None:
        """Return None, because the other side sends first."""
        return None

    def received(self, frame: HandshakeFrame) -> HandshakeFrame | None:
        """Return `Welcome` in answer to `Hello`, or None after a valid `Proof`."""
        if isinstance(frame, Hello) and self._claimed is None:
            return self._greeted(frame)
        if not isinstance(frame, Proof) or self._claimed is None or self.peer is not None:
            raise _out_of_turn(frame)
        if not hmac.compare_digest(frame.proof, self._expected):
            raise LinkRefused(f"{self._claimed.role} {self._claimed.peer!r} did not prove that it has our key")
        self.peer = self._claimed
        return None

    def _greeted(self, hello: Hello) -> Welcome:
        _check_version(hello)
        if (hello.role == CLIENT) != (hello.job is not None):
            raise LinkRefused(
                f"{hello.peer!r} claims to be a {hello.role!r} of job {hello.job!r}: a client names its job, and only a client does"
            )
        key = self._cluster_key if hello.job is None else job_key(self._cluster_key, hello.job)
        welcome = Welcome(VERSION, self._me.peer, self._me.role, self._me.epoch, secrets.token_bytes(NONCE_BYTES), b"")
        self._claimed = Peer(hello.peer, hello.role, hello.epoch, hello.job)
        self._expected = _prove(key, b"initiator", hello, welcome)
        return msgspec.structs.replace(welcome, proof=_prove(key, b"responder", hello, welcome))
