"""The contract: every struct has an example that survives the wire, every subject its stream, and the document is current."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

import headrace_schemas
from headrace.bus.memory import matches
from headrace.controller import service as controller
from headrace.publisher import service as publisher
from headrace.scheduler import service as scheduler
from headrace_schemas import (
    SCHEMA_VERSION,
    Decision,
    Events,
    HostEntry,
    LogMessage,
    Message,
    Record,
    Request,
    SchemaMismatch,
    TaskError,
    asyncapi,
    streams,
    subjects,
)
from headrace_schemas.base import check_version, decoder, encode
from headrace_schemas.examples import EXAMPLES

DOCUMENT = Path(headrace_schemas.__file__).with_name("asyncapi.json")
ABSTRACT = {Record, Message, Decision}


def descendants(struct: type[Record]) -> Iterator[type[Record]]:
    for child in struct.__subclasses__():
        yield child
        yield from descendants(child)


STRUCTS = sorted(
    {s for s in descendants(Record) if s not in ABSTRACT and s is not asyncapi.Channel and s.__module__.startswith("headrace_schemas")},
    key=lambda struct: struct.__name__,
)
MESSAGES = [s for s in STRUCTS if issubclass(s, Message)]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda s: s.__name__)
def test_every_struct_has_an_example_that_survives_the_wire(struct: type[Record]) -> None:
    example = EXAMPLES[struct]
    assert msgspec.json.decode(encode(example), type=struct) == example


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda s: s.__name__)
def test_an_example_shows_what_the_struct_is_for(struct: type[Record]) -> None:
    required = {field.name for field in msgspec.structs.fields(struct) if field.required}
    shown = set(msgspec.json.decode(encode(EXAMPLES[struct])))
    assert required <= shown
    assert inspect.getdoc(struct)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda s: s.__name__)
def test_fields_of_a_newer_writer_are_ignored(struct: type[Record]) -> None:
    fields = {**msgspec.json.decode(encode(EXAMPLES[struct])), "added_later": [1, {"x": 2}]}
    assert msgspec.json.decode(msgspec.json.encode(fields), type=struct) == EXAMPLES[struct]


@pytest.mark.parametrize("struct", MESSAGES, ids=lambda s: s.__name__)
def test_every_message_says_its_kind_and_version(struct: type[Message]) -> None:
    fields = msgspec.json.decode(encode(EXAMPLES[struct]))
    assert 1 <= fields["v"] <= SCHEMA_VERSION
    assert fields["kind"] == struct.__struct_config__.tag


@pytest.mark.parametrize("struct", MESSAGES, ids=lambda s: s.__name__)
def test_a_newer_version_is_refused(struct: type[Message]) -> None:
    fields = msgspec.json.decode(encode(EXAMPLES[struct]))
    current = msgspec.convert(fields, struct)
    check_version(current)
    newer = msgspec.json.decode(msgspec.json.encode({**fields, "v": SCHEMA_VERSION + 1}), type=struct)
    with pytest.raises(SchemaMismatch, match=rf"{struct.__name__} has schema version {SCHEMA_VERSION + 1}.*upgrade"):
        check_version(newer)


def test_a_host_says_with_its_entry_which_schema_its_reports_need() -> None:
    """Only a controller that reads the entry lets the host join."""
    assert EXAMPLES[HostEntry].v >= EXAMPLES[Events].v  # type: ignore[attr-defined]


def test_kinds_are_distinct() -> None:
    kinds = [struct.__struct_config__.tag for struct in MESSAGES]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize("union", [LogMessage, Request], ids=["LogMessage", "Request"])
def test_a_union_is_told_apart_by_kind(union: Any) -> None:
    read = decoder(union)
    for struct in get_args(union):
        assert read.decode(encode(EXAMPLES[struct])) == EXAMPLES[struct]


def test_every_message_has_a_channel() -> None:
    used = [message for channel in asyncapi.CHANNELS for message in channel.messages]
    assert {m.__name__ for m in used} == {m.__name__ for m in MESSAGES}


@pytest.mark.parametrize("channel", asyncapi.CHANNELS, ids=lambda c: c.name)
def test_a_subject_is_stored_by_exactly_one_stream(channel: asyncapi.Channel) -> None:
    subject = channel.subject(**dict.fromkeys(asyncapi.parameters(channel), "some-name_1"))
    if channel.bucket:
        assert channel.bucket in {bucket.name for bucket in streams.BUCKETS}
        assert asyncapi.stream_of(subject) is None
        return
    expected = "REQUESTS" if set(channel.messages) <= set(get_args(Request)) else "LOG"
    stream = asyncapi.stream_of(subject)
    assert stream is not None
    assert stream.name == expected


def test_every_bucket_is_used() -> None:
    of_messages = {channel.bucket for channel in asyncapi.CHANNELS if channel.bucket}
    assert {bucket.name for bucket in streams.BUCKETS} == of_messages | {streams.SECRETS.name}, "secrets has plain text"


def test_every_channel_of_the_log_is_in_its_union() -> None:
    in_log = {
        m
        for c in asyncapi.CHANNELS
        if not c.bucket and asyncapi.stream_of(c.subject(*asyncapi.parameters(c))) is streams.LOG
        for m in c.messages
    }
    assert in_log == set(get_args(LogMessage))


@pytest.mark.parametrize(
    ("pattern", "subject", "stored"),
    [
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.*.c", "a.b.c", True),
        ("b.>", "a.b", False),
    ],
)
def test_patterns_match_as_the_server_matches_them(monkeypatch: pytest.MonkeyPatch, pattern: str, subject: str, stored: bool) -> None:
    only = streams.StreamSpec(name="ONLY", subjects=[pattern], max_bytes=1, why="a test")
    monkeypatch.setattr(streams, "STREAMS", [only])
    assert asyncapi.stream_of(subject) is (only if stored else None)


def test_two_streams_for_a_subject_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STREAMS", [streams.LOG, streams.LOG])
    with pytest.raises(ValueError, match=r"LOG, LOG; make their subjects disjoint"):
        asyncapi.stream_of(subjects.plan("a"))


@pytest.mark.parametrize("bad", ["", "a.b", "a b", "*", ">", "é", "x" * 65])
@pytest.mark.parametrize("channel", [c for c in asyncapi.CHANNELS if not c.bucket], ids=lambda c: c.name)
def test_a_subject_refuses_what_is_not_a_token(channel: asyncapi.Channel, bad: str) -> None:
    for wrong in asyncapi.parameters(channel):
        values = {name: bad if name == wrong else "fine" for name in asyncapi.parameters(channel)}
        with pytest.raises(ValueError, match="cannot be part of a subject"):
            channel.subject(**values)


def test_readers_patterns_lie_inside_the_log() -> None:
    patterns = [*subjects.for_host("h"), *subjects.for_client("j"), *subjects.for_client(), *subjects.for_job("j")]
    for pattern in [*patterns, subjects.ALL_HOSTS, subjects.ALL_OUTPUTS]:
        stored = asyncapi.stream_of(pattern.replace("*", "x").replace(">", "x"))
        assert stored is streams.LOG


READ_BY = {
    "controller": controller.FOLLOWED,
    "scheduler": scheduler.FOLLOWED,
    "publisher": publisher.FOLLOWED,
    "worker": subjects.for_host("some"),
    "client": [*subjects.for_client("some"), *subjects.for_job("some")],
}


@pytest.mark.parametrize("channel", [c for c in asyncapi.CHANNELS if c.sender != "client" and not c.bucket], ids=lambda c: c.name)
def test_the_receivers_of_a_channel_of_the_log_are_those_who_follow_it(channel: asyncapi.Channel) -> None:
    subject = channel.subject(**dict.fromkeys(asyncapi.parameters(channel), "some"))
    readers = {who for who, patterns in READ_BY.items() if any(matches(pattern, subject) for pattern in patterns)}
    assert set(channel.receivers) == readers - {channel.sender}


def test_every_limit_has_a_reason() -> None:
    specs: list[Any] = [*streams.STREAMS, *streams.BUCKETS, *streams.OBJECT_STORES]
    for spec in specs:
        assert len(spec.why.split()) > 4, spec.name
        assert spec.max_bytes > 0


# --- the AsyncAPI document ------------------------------------------------------------------------------------------


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def resolve(document: dict[str, Any], reference: str) -> Any:
    node: Any = document
    assert reference.startswith("#/")
    for part in reference[2:].split("/"):
        node = node[part]
    return node


def test_the_generated_document_is_current() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == asyncapi.render(), "run `make schemas`"


def test_the_document_does_not_depend_on_the_release_of_msgspec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases before 0.23 kept the indent of docstrings; before 0.22, null was the first alternative."""
    generate = msgspec.json.schema_components

    def as_older_releases_do(*arguments: Any, **options: Any) -> Any:
        out, schemas = generate(*arguments, **options)
        for schema in schemas.values():
            schema["description"] = schema.get("description", "").replace("\n", "\n    ")
            for field in schema["properties"].values():
                if "anyOf" in field:
                    field["anyOf"].reverse()
        return out, schemas

    current = asyncapi.render()
    monkeypatch.setattr(msgspec.json, "schema_components", as_older_releases_do)
    assert asyncapi.render() == current


def test_it_is_written_where_asked(tmp_path: Path) -> None:
    target = tmp_path / "asyncapi.json"
    assert asyncapi.main([str(target)]) == 0
    assert json.loads(target.read_text(encoding="utf-8")) == json.loads(json.dumps(asyncapi.document()))
    assert asyncapi.main([]) == 2


def test_the_document_has_what_asyncapi_requires() -> None:
    document = asyncapi.document()
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(document["info"])
    for name, operation in document["operations"].items():
        assert operation["action"] in ("send", "receive"), name
        channel = resolve(document, operation["channel"]["$ref"])
        for message in operation["messages"]:
            assert message["$ref"].startswith(operation["channel"]["$ref"] + "/messages/")
            assert resolve(document, message["$ref"]) in channel["messages"].values()


def test_an_address_names_exactly_its_parameters() -> None:
    for name, channel in asyncapi.document()["channels"].items():
        in_address = {token[1:-1] for token in channel["address"].split(".") if token.startswith("{")}
        assert in_address == set(channel["parameters"]), name


def test_every_reference_resolves() -> None:
    document = asyncapi.document()
    found = list(references(document))
    assert len(found) > 50
    for reference in found:
        assert resolve(document, reference) is not None


def test_every_channel_says_where_it_is_stored() -> None:
    for name, channel in asyncapi.document()["channels"].items():
        assert ("x-headrace-stream" in channel) != ("x-headrace-bucket" in channel), name


def test_notes_below_fields_reach_the_document() -> None:
    schemas = asyncapi.document()["components"]["schemas"]
    assert schemas["Plan"]["properties"]["placed"]["description"] == "Per chain: index of its host."
    assert schemas["HostJoined"]["properties"]["capacity"]["description"] == "Capacity of its store, in bytes."


def test_examples_in_the_document_are_messages() -> None:
    for name, message in asyncapi.document()["components"]["messages"].items():
        (example,) = message["examples"]
        struct = next(s for s in MESSAGES if s.__name__ == name)
        assert msgspec.json.decode(json.dumps(example["payload"]), type=struct) == EXAMPLES[struct]


def test_a_failure_of_an_older_release_is_read_without_the_runner_that_it_names() -> None:
    events = Events(job="j", host="a", epoch=1, failed=[TaskError(task=3, pid=4242)])
    written = msgspec.json.decode(encode(events))
    written["failed"][0]["runner"] = 7
    assert decoder(LogMessage).decode(msgspec.json.encode(written)) == events
