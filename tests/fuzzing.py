"""What a fuzz test writes wherever services read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from headrace.bus import Bus, Record, read_value
from headrace.bus.metrics import Reading
from headrace_schemas import (
    SCHEMA_VERSION,
    Decision,
    HostEntry,
    HostJoined,
    HostLost,
    JobEntry,
    LogMessage,
    Request,
    Submitted,
    decoder,
    encode,
    streams,
    subjects,
)
from headrace_schemas.examples import EXAMPLES, GRAPH, JOB, SOURCE
from headrace_schemas.reading import header_of
from tests import edges

MOST_OF_A_KIND = 250
"""Messages of each kind that are written, chosen at random; `tests/unit/test_fuzz_log.py` has all of them folded."""
OTHERS = [
    subjects.submitted(JOB),
    subjects.state(JOB),
    subjects.needed(JOB),
    subjects.plan(JOB),
    subjects.assign(JOB, "host-0"),
    subjects.event(JOB, "host-0"),
    subjects.purge(JOB, "host-0"),
    subjects.host("host-0"),
    subjects.output(JOB),
    subjects.committed(JOB),
    subjects.request(JOB),
    "headrace.job.a$b.submitted",
    "headrace.job.a.b.c.submitted",
    "headrace.event.x",
    "headrace.plan.x.y.z",
]
NO_TERM = 10**9
"""In which nobody leads."""
SUBMITTED: Any = EXAMPLES[Submitted]


def of_the_log(draw: random.Random, terms: Mapping[str, int]) -> list[tuple[str, bytes]]:
    """Of each kind some at their edges, and good ones on the subjects of others. terms: in which the services lead; all that is true of
    hosts is for the controller to say, and in a term that it never had."""
    found: list[tuple[str, bytes]] = [(subjects.submitted("whole"), encode(msgspec.structs.replace(SUBMITTED, job="whole")))]
    for struct in get_args(LogMessage):
        example = EXAMPLES[struct]
        if issubclass(struct, Decision):
            strange = struct in (HostJoined, HostLost)
            term = NO_TERM if strange else terms[subjects.leader(example.subject())]
            example = msgspec.structs.replace(example, term=term)
        said = list(edges.messages(struct, example))
        if struct in (HostJoined, HostLost):
            said = [data for data in said if header_of(data).term == NO_TERM]
        found += [(example.subject(), data) for data in draw.sample(said, min(len(said), MOST_OF_A_KIND))]
        found += [(subject, encode(example)) for subject in OTHERS]
        found += [(subject, data) for subject in OTHERS for data in draw.sample(said, 3)]
    found += [
        (subject, data) for subject in OTHERS for data in (b"", b"[", b"\xff", b"[" * 200_000, b'{"v":9}', b'{"v":9,"term":999999999}')
    ]
    draw.shuffle(found)
    return [(subject, data) for subject, data in found if not _ends_on_purpose(subject, data, terms)]


def _ends_on_purpose(subject: str, data: bytes, terms: Mapping[str, int]) -> bool:
    """Whether it is a decision of a service that leads, of a newer release: nobody may go on without it."""
    header = header_of(data)
    return header.v > SCHEMA_VERSION and header.term in terms.values() and bool(subjects.leader(subject))


def of_requests(draw: random.Random) -> list[tuple[str, bytes]]:
    found = []
    for struct in get_args(Request):
        said = list(edges.messages(struct, EXAMPLES[struct]))
        found += [(subjects.request(job), data) for data in draw.sample(said, min(len(said), 80)) for job in (JOB, "another")]
    return found


def of_buckets(draw: random.Random) -> list[tuple[str, str, bytes]]:
    """Bucket, key and value. The leases of the real services and hosts are theirs to write, and a host that joins is one that gets work."""
    found = [("leases", key, data) for key in ("nobody", "a.b") for data in (b"", b"[" * 5_000, b"{}")]
    for bucket, struct in (("hosts", HostEntry), ("jobs", JobEntry)):
        said = list(edges.messages(struct, EXAMPLES[struct]))
        for key in ("alpha", "another", JOB, "a.b.c", "_"):
            found += [(bucket, key, data) for data in draw.sample(said, 40)]
    host = decoder(HostEntry)
    return [each for each in found if each[0] != "hosts" or read_value(host, "", Record(1, 0.0, *each[1:]), Reading()) is None]


async def write_all(bus: Bus, terms: Mapping[str, int]) -> int:
    """Everything, and how much of it was taken by the server. terms: in which the services lead."""
    draw = random.Random(7)
    sent = [bus.publish(subject, data) for subject, data in [*of_the_log(draw, terms), *of_requests(draw)]]
    sent += [asyncio.ensure_future(bus.kv(bucket).put(key, data)) for bucket, key, data in of_buckets(draw)]
    store = bus.objects(streams.GRAPHS.name)
    for key, graph in (("a" * 64, encode(GRAPH)), (JOB, encode(GRAPH)), ("b" * 64, b"[" * 100_000)):
        await store.put(key, graph)
        by_key = msgspec.structs.replace(SOURCE, inline=None, key=key)
        job = f"of-{key[:3]}"
        sent.append(bus.publish(subjects.submitted(job), msgspec.structs.replace(SUBMITTED, job=job, graph=by_key)))
    await bus.publish(store._meta("c" * 64), b"[" * 5_000)
    done = await asyncio.gather(*sent, return_exceptions=True)
    return sum(not isinstance(each, BaseException) for each in done)
