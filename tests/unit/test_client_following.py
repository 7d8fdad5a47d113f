"""A client folds the log correctly, whichever of its two threads is faster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import headrace as hr
from headrace.bus import Entry
from headrace.client.following import Following
from headrace.graph.freezing import freeze
from headrace_schemas import Events, HostJoined


def test_what_the_log_says_counts_also_if_it_is_read_before_the_client_looked_at_its_own_job() -> None:
    connection: Any = SimpleNamespace(name="client", bus=SimpleNamespace(tracing=None), thread=SimpleNamespace(soon=lambda *what: None))
    graph = hr.Graph("one")
    graph.add(abs, -1)
    following = Following(connection, "job")
    following.submit(freeze(graph))
    joined = HostJoined(at=0, term=1, host="a", epoch=1, address="", runners=1, capacity=1)
    events = Events(job="job", host="a", epoch=1, chains=[0], produced=[0], sizes=[5])
    following.on_entries([Entry(1, 0.0, "", joined), Entry(2, 0.0, "", events)])
    assert following.ledger.holder(0) == "a"
