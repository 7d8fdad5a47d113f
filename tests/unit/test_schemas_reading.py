"""`read` accepts a message only if it fits the contract and is on its own subject."""

from __future__ import annotations

import json
import random
from typing import Any, get_args

import msgspec
import pytest

from headrace_schemas import SCHEMA_VERSION, Assign, Events, LogMessage, Message, Plan, Published, Reroute, asyncapi, decoder, encode
from headrace_schemas.examples import EXAMPLES, JOB, NOT_COMMITTED, OUTPUT
from headrace_schemas.limits import MAX_IDS, MAX_NESTING, most_datasets
from headrace_schemas.reading import NewerVersion, Unreadable, check_nesting, fault, header_of, read

LOG = decoder(LogMessage)
MESSAGES = sorted(get_args(LogMessage), key=lambda struct: str(struct.__name__))


def changed(struct: type[Message], **fields: Any) -> bytes:
    return msgspec.json.encode({**msgspec.to_builtins(EXAMPLES[struct]), **fields})


@pytest.mark.parametrize("struct", MESSAGES, ids=lambda s: s.__name__)
def test_an_example_is_read_on_its_subject_and_on_no_other(struct: type[Message]) -> None:
    example = EXAMPLES[struct]
    assert isinstance(example, Message)
    assert read(LOG, encode(example), example.subject()) == example
    for other in ("headrace.job.another.state", f"{example.subject()}.x", "headrace"):
        with pytest.raises(Unreadable, match="belongs on"):
            read(LOG, encode(example), other)


def test_a_message_says_the_subject_of_its_channel() -> None:
    for channel in asyncapi.CHANNELS:
        for struct in channel.messages:
            if struct.stands_on and not channel.bucket:
                fields = struct.stands_on[1:]
                subject = channel.subject(*[getattr(EXAMPLES[struct], field) for field in fields])
                assert EXAMPLES[struct].subject() == subject  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("outputs", "failed", "subject"),
    [
        ([OUTPUT], [], f"headrace.output.{JOB}.committed"),
        ([], [NOT_COMMITTED], f"headrace.output.{JOB}.committed"),
        ([msgspec.structs.replace(OUTPUT, location="")], [], f"headrace.output.{JOB}"),
    ],
)
def test_an_announcement_stands_where_its_outputs_belong(outputs: list[Any], failed: list[Any], subject: str) -> None:
    message = Published(at=1, term=1, job=JOB, outputs=outputs, failed=failed)
    assert read(LOG, encode(message), subject) == message


@pytest.mark.parametrize(
    ("outputs", "why"), [([], "announces nothing"), ([OUTPUT, msgspec.structs.replace(OUTPUT, location="")], "together")]
)
def test_an_announcement_of_nothing_or_of_both_kinds_is_passed_over(outputs: list[Any], why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(LOG, encode(Published(at=1, term=1, job=JOB, outputs=outputs)), f"headrace.output.{JOB}")


@pytest.mark.parametrize(
    ("struct", "fields", "why"),
    [
        (Events, {"done": [-1]}, ">= 0"),
        (Events, {"done": [MAX_IDS]}, r"<|<="),
        (Events, {"done": [2**63]}, r"<|<="),
        (Events, {"done": [10**30]}, r"<|<=|range"),
        (Events, {"done_attempts": [2**30]}, r"<|<="),
        (Events, {"sizes": [2**53 + 1, 0]}, "<="),
        (Events, {"sizes": [1]}, "sizes has 1 entries, and produced has 2"),
        (Events, {"values": []}, "values has 0 entries"),
        (Events, {"unreachable": ["a", "b.c"]}, "not a token"),
        (Events, {"profile": [{"function": 0, "count": 1, "total": -0.5, "longest": 0}]}, ">= 0"),
        (Plan, {"placed": [0, 1, 0, 2]}, "placed names place 2 of hosts"),
        (Plan, {"lengths": [1, 1, 2, 1]}, "adds up to 5, and tasks has 6"),
        (Plan, {"lengths": [0, 2, 2, 2]}, ">= 1"),
        (Assign, {"sources": [7]}, "sources names place 7"),
        (Assign, {"attempts": [1]}, "attempts has 1 entries"),
        (Reroute, {"sources": []}, "sources has 0 entries"),
    ],
)
def test_what_is_out_of_range_or_does_not_fit_together_is_passed_over(struct: type[Message], fields: dict[str, Any], why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(LOG, changed(struct, **fields), EXAMPLES[struct].subject())  # type: ignore[attr-defined]


def test_what_no_subject_can_have_is_passed_over() -> None:
    with pytest.raises(Unreadable, match="cannot be part of a subject"):
        read(LOG, changed(Events, host="a b"), f"headrace.event.{JOB}.a b")


def test_a_newer_version_is_told_apart_with_what_can_be_read_of_it() -> None:
    for data in (changed(Plan, v=SCHEMA_VERSION + 1), changed(Plan, v=SCHEMA_VERSION + 1, kind="of_next_year", at={})):
        with pytest.raises(NewerVersion) as caught:
            read(LOG, data)
        assert (caught.value.version, caught.value.term) == (SCHEMA_VERSION + 1, 8)
    for data in (b"", b"[", b"7", b'{"v":"x"}', b"[" * 100_000):
        assert header_of(data).v == 0


def nested(draw: random.Random, depth: int) -> Any:
    if depth <= 0:
        return draw.choice([1, None, "[[[", '"]}', "\\", '\\"{'])
    items = [nested(draw, depth - 1), *(nested(draw, draw.randrange(min(4, depth))) for _ in range(draw.randrange(4)))]
    draw.shuffle(items)
    return items if draw.random() < 0.5 else {draw.choice('ab[{"\\') + str(place): item for place, item in enumerate(items)}


def depth_of(value: Any) -> int:
    if not isinstance(value, list | dict):
        return 0
    return 1 + max(map(depth_of, value.values() if isinstance(value, dict) else value), default=0)


@pytest.mark.parametrize("depth", [1, 3, 20, MAX_NESTING - 1, MAX_NESTING, MAX_NESTING + 1, MAX_NESTING + 9])
def test_nesting_is_counted_whatever_strings_look_like(depth: int) -> None:
    for seed in range(60):
        value = nested(random.Random(seed), depth)
        data = json.dumps(value).encode()
        if depth_of(value) <= MAX_NESTING:
            check_nesting(data)
        else:
            with pytest.raises(Unreadable, match="nested deeper"):
                check_nesting(data)


@pytest.mark.parametrize("depth", [1_000, 5_000, 100_000, 1_000_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b"[[],", b"]"), (b"[", b"")])
def test_a_message_that_is_nested_without_end_is_passed_over(depth: int, opening: bytes, closing: bytes) -> None:
    deep = opening * depth + b"1" + closing * depth
    for field in (b"about", b"unknown"):
        data = encode(EXAMPLES[Events]).replace(b'"about":', b'"%b":%b,"about":' % (field, deep))
        with pytest.raises(Unreadable, match="nested deeper"):
            read(LOG, data)


def test_what_a_graph_may_declare_grows_with_what_it_has() -> None:
    assert most_datasets(1, 0, 1) < 70_000
    assert most_datasets(1_000_000, 1_000_000, 1) == MAX_IDS
    assert most_datasets(20_000, 0, 20_000) > 500_000


def test_faults_are_empty_for_all_examples() -> None:
    assert not [struct for struct, example in EXAMPLES.items() if fault(example)]
