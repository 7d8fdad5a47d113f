"""The handshake accepts only peers that have the key, under the identity that they claim."""

import msgspec
import pytest

from headrace.link.errors import LinkRefused
from headrace.link.frames import Proof
from headrace.link.framing import pack
from headrace.link.handshake import Identity, Initiator, Peer, Responder, job_key
from headrace.link.settings import MAX_NAME_BYTES, VERSION

KEY = b"k" * 32
OTHER = b"o" * 32
A = Identity("a", "host", 1700)
B = Identity("b", "host", 1800)
CLIENT = Identity("c", "client")


def shake(initiator, responder):
    """Carry the frames of a handshake between the two."""
    assert responder.begin() is None
    proof = initiator.received(responder.received(initiator.begin()))
    assert responder.received(proof) is None
    return initiator.peer, responder.peer


def changed(frame, **fields):
    return msgspec.structs.replace(frame, **fields)


def test_two_hosts():
    assert shake(Initiator(A, KEY), Responder(B, KEY)) == (Peer("b", "host", 1800, None), Peer("a", "host", 1700, None))


def test_a_client_with_its_jobs_key():
    mine, theirs = shake(Initiator(CLIENT, job_key(KEY, "j1"), "j1"), Responder(B, KEY))
    assert mine == Peer("b", "host", 1800, "j1")
    assert theirs == Peer("c", "client", 0, "j1")


def test_job_keys_differ_and_hide_the_clusters():
    keys = {KEY, job_key(KEY, "j1"), job_key(KEY, "j2"), job_key(OTHER, "j1")}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}


@pytest.mark.parametrize(
    ("initiator", "responder"),
    [
        (Initiator(A, OTHER), Responder(B, KEY)),
        (Initiator(A, KEY), Responder(B, OTHER)),
        (Initiator(CLIENT, job_key(KEY, "j1"), "j2"), Responder(B, KEY)),
        (Initiator(CLIENT, KEY, "j1"), Responder(B, KEY)),
        (Initiator(A, job_key(KEY, "j1")), Responder(B, KEY)),
    ],
    ids=["wrong key", "wrong key there", "another job's key", "the cluster's key for a job", "a job's key for a host"],
)
def test_wrong_keys(initiator, responder):
    welcome = responder.received(initiator.begin())
    with pytest.raises(LinkRefused, match="did not prove"):
        initiator.received(welcome)
    assert initiator.peer is None
    assert responder.peer is None


def test_a_replayed_proof_is_worth_nothing():
    initiator, responder = Initiator(A, KEY), Responder(B, KEY)
    hello = initiator.begin()
    proof = initiator.received(responder.received(hello))
    again = Responder(B, KEY)
    again.received(hello)
    with pytest.raises(LinkRefused, match="did not prove"):
        again.received(proof)
    assert again.peer is None


def test_a_replayed_welcome_is_worth_nothing():
    responder = Responder(B, KEY)
    welcome = responder.received(Initiator(A, KEY).begin())
    with pytest.raises(LinkRefused):
        Initiator(A, KEY).received(welcome)


def test_a_reflected_proof_is_worth_nothing():
    """Without the key: send the responder's own proof back to it."""
    responder = Responder(B, KEY)
    welcome = responder.received(Initiator(A, OTHER).begin())
    with pytest.raises(LinkRefused, match="did not prove"):
        responder.received(Proof(welcome.proof))
    assert responder.peer is None


@pytest.mark.parametrize("fields", [{"peer": "x"}, {"role": "client"}, {"epoch": 9}, {"nonce": bytes(32)}, {"proof": b""}])
def test_every_field_of_the_welcome_is_bound(fields):
    initiator, responder = Initiator(A, KEY), Responder(B, KEY)
    welcome = responder.received(initiator.begin())
    with pytest.raises(LinkRefused):
        initiator.received(changed(welcome, **fields))


@pytest.mark.parametrize("fields", [{"peer": "x"}, {"role": "runner"}, {"epoch": 9}, {"nonce": bytes(32)}])
def test_every_field_of_the_hello_is_bound(fields):
    initiator, responder = Initiator(A, KEY), Responder(B, KEY)
    welcome = responder.received(changed(initiator.begin(), **fields))
    with pytest.raises(LinkRefused):
        initiator.received(welcome)


def test_versions_must_agree():
    with pytest.raises(LinkRefused, match=f"version {VERSION + 1}"):
        Responder(B, KEY).received(changed(Initiator(A, KEY).begin(), version=VERSION + 1))
    initiator = Initiator(A, KEY)
    welcome = Responder(B, KEY).received(initiator.begin())
    with pytest.raises(LinkRefused, match="version 0"):
        initiator.received(changed(welcome, version=0))


def test_out_of_turn():
    hello = Initiator(A, KEY).begin()
    with pytest.raises(LinkRefused, match="Proof frame out of turn"):
        Responder(B, KEY).received(Proof(b""))
    responder = Responder(B, KEY)
    responder.received(hello)
    with pytest.raises(LinkRefused, match="Hello frame out of turn"):
        responder.received(hello)
    with pytest.raises(LinkRefused, match="Hello frame out of turn"):
        Initiator(A, KEY).received(hello)


def test_roles_and_jobs_go_together():
    with pytest.raises(LinkRefused, match="a client names its job"):
        Responder(B, KEY).received(changed(Initiator(A, KEY).begin(), job="j"))
    with pytest.raises(ValueError, match="a client names its job"):
        Initiator(CLIENT, KEY)
    with pytest.raises(ValueError, match="a client names its job"):
        Initiator(A, KEY, "j")


def test_keys_and_names_that_will_not_do():
    with pytest.raises(ValueError, match="at least 16"):
        Initiator(A, b"")
    with pytest.raises(ValueError, match="at least 16"):
        Responder(B, b"short")
    with pytest.raises(ValueError, match="longer than"):
        Responder(Identity("ü" * MAX_NAME_BYTES, "host"), KEY)


def test_the_longest_names_fit_in_a_handshake_frame():
    longest = "n" * MAX_NAME_BYTES
    initiator = Initiator(Identity(longest, "client", 2**62), KEY, longest)
    pack(initiator.begin())
    pack(Responder(Identity(longest, longest, 2**62), KEY).received(initiator.begin()))
