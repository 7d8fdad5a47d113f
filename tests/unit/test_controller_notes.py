"""What the controller writes down of requests and hosts."""

from __future__ import annotations

import msgspec

from headrace.controller.notes import (
    is_news,
    missing,
    note_of_host,
    note_of_loss,
    note_of_request,
    notes_of_presence,
)
from headrace.ledger import Hosts
from headrace_schemas import (
    Cancel,
    CancelAsked,
    HostEntry,
    HostJoined,
    HostLost,
    Release,
    Released,
)
from headrace_schemas.examples import EXAMPLES

AFTER = 3_600.0


def test_cancel_and_release_are_passed_on() -> None:
    cancel = note_of_request(Cancel(job="j", reason="r"), 4, 2)
    assert (cancel.subject, cancel.message) == ("headrace.job.j.state", CancelAsked(at=4, term=2, job="j", reason="r"))
    release = note_of_request(Release(job="j", datasets=[3]), 4, 2)
    assert (release.subject, release.message) == ("headrace.job.j.state", Released(at=4, term=2, job="j", datasets=[3]))


def test_hosts_come_and_go() -> None:
    entry = EXAMPLES[HostEntry]
    assert isinstance(entry, HostEntry)
    hosts = Hosts()
    assert is_news(entry, hosts)
    joined = note_of_host(entry, 4, 2)
    assert joined.subject == f"headrace.host.{entry.host}"
    assert isinstance(joined.message, HostJoined)
    hosts.fold_joined(joined.message)
    assert not is_news(entry, hosts)
    assert is_news(msgspec.structs.replace(entry, epoch=entry.epoch + 1), hosts)
    assert missing(hosts, {entry.host}) == []
    ((host, epoch),) = missing(hosts, set())
    lost = note_of_loss(host, epoch, 4, 2).message
    assert isinstance(lost, HostLost)
    assert hosts.fold_lost(lost)
    assert not is_news(entry, hosts), "that epoch is over: a host that lives on must take a new one"


def test_the_log_says_again_of_hosts_at_work_that_they_joined_before_that_ages_out() -> None:
    entry = EXAMPLES[HostEntry]
    assert isinstance(entry, HostEntry)
    hosts = Hosts()
    joined = note_of_host(entry, 4, 2).message
    assert isinstance(joined, HostJoined)
    hosts.fold_joined(joined, 100.0)
    assert notes_of_presence(hosts, 99.0 + AFTER, AFTER, 5, 3) == []
    [note] = notes_of_presence(hosts, 100.0 + AFTER, AFTER, 5, 3)
    assert note.message == msgspec.structs.replace(joined, at=5, term=3, again=True)
    assert isinstance(note.message, HostJoined)
    assert not hosts.fold_joined(note.message, 200.0 + AFTER), "nothing is lost"
    assert notes_of_presence(hosts, 300.0 + AFTER, AFTER, 6, 3) == []
    lost = note_of_loss(entry.host, entry.epoch, 6, 3).message
    assert isinstance(lost, HostLost)
    hosts.fold_lost(lost)
    assert notes_of_presence(hosts, 1e9, AFTER, 7, 3) == []
