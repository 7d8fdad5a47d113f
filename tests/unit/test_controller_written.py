"""What the controller writes down of requests and hosts."""

from __future__ import annotations

import msgspec
import pytest

from headrace.controller.written import BadRequest, is_news, missing, note_of_host, note_of_loss, note_of_request
from headrace.ledger import Hosts
from headrace_schemas import (
    SCHEMA_VERSION,
    Cancel,
    CancelAsked,
    HostEntry,
    HostJoined,
    HostLost,
    Release,
    Released,
    encode,
)
from headrace_schemas.examples import EXAMPLES


def test_cancel_and_release_are_passed_on() -> None:
    cancel = note_of_request(encode(Cancel(job="j", reason="r")), 4, 2)
    assert (cancel.subject, cancel.message) == ("headrace.job.j.state", CancelAsked(at=4, term=2, job="j", reason="r"))
    release = note_of_request(encode(Release(job="j", datasets=[3])), 4, 2)
    assert (release.subject, release.message) == ("headrace.job.j.state", Released(at=4, term=2, job="j", datasets=[3]))


@pytest.mark.parametrize(
    "request_",
    [b"", b"{", b"[]", {"kind": "release", "job": "no such.id"}, {"kind": "cancel"}, {"kind": "novelty", "job": "j"},
     {"kind": "cancel", "v": SCHEMA_VERSION + 1, "job": "j"}, {"kind": "cancel", "v": SCHEMA_VERSION, "job": "a b"}],
)  # fmt: skip
def test_a_request_that_names_no_job_or_cannot_be_read_is_refused(request_: object) -> None:
    data = request_ if isinstance(request_, bytes) else msgspec.json.encode(request_)
    with pytest.raises(BadRequest, match="is ignored"):
        note_of_request(data, 4, 2)


def test_hosts_come_and_go() -> None:
    entry = EXAMPLES[HostEntry]
    assert isinstance(entry, HostEntry)
    hosts = Hosts()
    assert is_news(entry, hosts)
    joined = note_of_host(entry, 4, 2)
    assert joined.subject == f"headrace.host.{entry.host}"
    assert isinstance(joined.message, HostJoined)
    hosts.joined(joined.message)
    assert not is_news(entry, hosts)
    assert is_news(msgspec.structs.replace(entry, epoch=entry.epoch + 1), hosts)
    assert missing(hosts, {entry.host}) == []
    ((host, epoch),) = missing(hosts, set())
    lost = note_of_loss(host, epoch, 4, 2).message
    assert isinstance(lost, HostLost)
    assert hosts.lost(lost)
    assert not is_news(entry, hosts), "that epoch is over: a host that lives on must take a new one"
