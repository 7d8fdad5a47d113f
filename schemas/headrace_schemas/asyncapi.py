"""The contract as an AsyncAPI 3.0 document: `python -m headrace_schemas.asyncapi PATH` writes it.

It is generated from the structs, the subject functions and the streams. Only `CHANNELS`, which says who sends and receives each message, is
written here.
https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from headrace_schemas import entries, facts, streams, subjects
from headrace_schemas import messages as m
from headrace_schemas.base import SCHEMA_VERSION, Message, Record
from headrace_schemas.examples import EXAMPLES
from headrace_schemas.snapshot import LedgerSnapshot

ASYNCAPI_VERSION = "3.0.0"
Json = dict[str, Any]


class Channel(Record, kw_only=True):
    """The messages of one subject, or the values of one bucket, with the service that writes them and the services that read them."""

    name: str
    subject: Callable[..., str]
    messages: list[type[Message]]
    sender: str
    receivers: list[str]
    bucket: str = ""


def _key_of(bucket: streams.BucketSpec, parameter: str) -> Callable[..., str]:
    """Return the subject under which a key of a bucket is stored, as a function of the key (named `parameter`)."""

    def subject(**key: str) -> str:
        """One entry of the bucket, by its key."""
        return f"$KV.{bucket.name}.{key[parameter]}"

    subject.__signature__ = inspect.Signature([inspect.Parameter(parameter, inspect.Parameter.KEYWORD_ONLY)])  # type: ignore[attr-defined]
    subject.__doc__ = bucket.why
    return subject


SERVICES = ["controller", "scheduler", "publisher"]
CHANNELS = [
    Channel(
        name="request",
        subject=subjects.request,
        messages=[m.Cancel, m.Release],
        sender="client",
        receivers=["controller"],
    ),
    Channel(
        name="submitted",
        subject=subjects.submitted,
        messages=[m.Submitted],
        sender="client",
        receivers=["controller", "scheduler", "publisher", "client"],
    ),
    Channel(
        name="state",
        subject=subjects.state,
        messages=[m.Ended, m.CancelAsked, m.Released, m.Refused, m.Stranded, m.NoRoom],
        sender="controller",
        receivers=["scheduler", "publisher", "worker", "client"],
    ),
    Channel(
        name="needed",
        subject=subjects.needed,
        messages=[m.Needed, m.Due],
        sender="controller",
        receivers=["scheduler", "publisher", "client"],
    ),
    Channel(
        name="purge",
        subject=subjects.purge,
        messages=[m.Purge],
        sender="controller",
        receivers=["worker", "scheduler", "publisher", "client"],
    ),
    Channel(
        name="host",
        subject=subjects.host,
        messages=[m.HostJoined, m.HostLost],
        sender="controller",
        receivers=["worker", "scheduler", "publisher", "client"],
    ),
    Channel(name="plan", subject=subjects.plan, messages=[m.Plan], sender="scheduler", receivers=["controller", "client"]),
    Channel(
        name="assign",
        subject=subjects.assign,
        messages=[m.Assign, m.Revoke, m.Reroute],
        sender="scheduler",
        receivers=["worker", "controller", "client"],
    ),
    Channel(name="term", subject=subjects.term, messages=[m.TermBegan], sender="service", receivers=[*SERVICES, "worker", "client"]),
    Channel(name="event", subject=subjects.event, messages=[facts.Events], sender="worker", receivers=[*SERVICES, "client"]),
    Channel(name="output", subject=subjects.output, messages=[facts.Published], sender="publisher", receivers=["client"]),
    Channel(
        name="committed", subject=subjects.committed, messages=[facts.Published], sender="publisher", receivers=["controller", "client"]
    ),
    Channel(
        name="hosts",
        subject=_key_of(streams.HOSTS, "host"),
        messages=[entries.HostEntry],
        sender="worker",
        receivers=["controller", "client"],
        bucket="hosts",
    ),
    Channel(
        name="leases",
        subject=_key_of(streams.LEASES, "service"),
        messages=[entries.LeaseEntry],
        sender="service",
        receivers=["service"],
        bucket="leases",
    ),
    Channel(
        name="snapshots",
        subject=_key_of(streams.SNAPSHOTS, "service"),
        messages=[LedgerSnapshot],
        sender="service",
        receivers=["service"],
        bucket="snapshots",
    ),
    Channel(
        name="jobs",
        subject=_key_of(streams.JOBS, "job"),
        messages=[entries.JobEntry],
        sender="controller",
        receivers=["client"],
        bucket="jobs",
    ),
]
"""Every subject with its messages. Each has one kind of writer; `service` stands for the controller, the scheduler and the publisher."""

PARAMETERS = {
    "job": "Id of a job, which its client made up.",
    "host": "Name of a host, unique in the cluster.",
    "name": "Name of a host, unique in the cluster.",
    "service": "Name of a service: controller, scheduler or publisher.",
}


def parameters(channel: Channel) -> list[str]:
    """Return the names of the parameters of a channel's address."""
    return list(inspect.signature(channel.subject).parameters)


def address(channel: Channel) -> str:
    """Return the channel's subject with its parameters in braces: `headrace.assign.{job}.{host}`."""
    names = parameters(channel)
    text = channel.subject(**{name: f"-{name}-" for name in names})
    for name in names:
        text = text.replace(f"-{name}-", f"{{{name}}}")
    return text


def stream_of(subject: str) -> streams.StreamSpec | None:
    """Return the stream that stores messages of this subject, or None. Raises ValueError if several streams would."""
    found = [s for s in streams.STREAMS if any(_matches(pattern, subject) for pattern in s.subjects)]
    if len(found) > 1:
        raise ValueError(f"{subject} is stored by several streams: {', '.join(s.name for s in found)}; make their subjects disjoint")
    return found[0] if found else None


def _matches(pattern: str, subject: str) -> bool:
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return len(given) >= len(wanted) and _matches(".".join(wanted[:-1]), ".".join(given[: len(wanted) - 1]))
    return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))


def document() -> Json:
    """Return the whole document, as plain dicts and lists."""
    used = [message for channel in CHANNELS for message in channel.messages]
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "Headrace",
            "version": str(SCHEMA_VERSION),
            "description": "Every message of Headrace, by subject. One stream, LOG, holds every fact and decision in one order.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {name: operation for channel in CHANNELS for name, operation in _operations(channel).items()},
        "components": {
            "messages": {message.__name__: _message(message) for message in used},
            "parameters": {name: {"description": text} for name, text in PARAMETERS.items()},
            "schemas": _schemas(used),
        },
        "x-headrace-streams": _specs(streams.STREAMS),
        "x-headrace-buckets": _specs(streams.BUCKETS),
        "x-headrace-object-stores": _specs(streams.OBJECT_STORES),
        "x-headrace-limits": {
            "inline_value_bytes": streams.INLINE_VALUE_BYTES,
            "inline_graph_bytes": streams.INLINE_GRAPH_BYTES,
            "max_message_bytes": streams.MAX_MESSAGE_BYTES,
        },
    }


def _channel(channel: Channel) -> Json:
    made: Json = {
        "address": address(channel),
        "description": inspect.cleandoc(channel.subject.__doc__ or ""),
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in parameters(channel)},
        "messages": {message.__name__: {"$ref": f"#/components/messages/{message.__name__}"} for message in channel.messages},
    }
    if channel.bucket:
        return {**made, "x-headrace-bucket": channel.bucket}
    stream = stream_of(channel.subject(*parameters(channel)))
    return {**made, "x-headrace-stream": stream.name} if stream else made


def _operations(channel: Channel) -> Json:
    """Return the operations of each service on a channel. The document describes all services, so each operation has the service's name."""
    uses = [(channel.sender, "send"), *((receiver, "receive") for receiver in channel.receivers)]
    references = [{"$ref": f"#/channels/{channel.name}/messages/{message.__name__}"} for message in channel.messages]
    return {
        f"{service}.{action}.{channel.name}": {
            "action": action,
            "channel": {"$ref": f"#/channels/{channel.name}"},
            "messages": references,
            "tags": [{"name": service}],
        }
        for service, action in uses
    }


def _message(message: type[Message]) -> Json:
    example = msgspec.to_builtins(EXAMPLES[message])
    return {
        "name": str(message.__struct_config__.tag),
        "title": message.__name__,
        "summary": inspect.cleandoc(message.__doc__ or "").split("\n\n")[0].replace("\n", " "),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{message.__name__}"},
        "examples": [{"payload": example}],
    }


def _schemas(used: list[type[Message]]) -> Json:
    _, schemas = msgspec.json.schema_components(used, ref_template="#/components/schemas/{name}")
    structs = {struct.__name__: struct for struct in EXAMPLES}
    for name, schema in schemas.items():
        _settle(schema, structs[name])
        for field, text in field_notes(structs[name]).items():
            _describe(schema["properties"][field], text)
    return schemas


def _settle(schema: Json, struct: type[Record]) -> None:
    """Undo differences between msgspec's releases: the indent of docstrings, and the order of alternatives."""
    schema["description"] = inspect.cleandoc(struct.__doc__ or "")
    for field in schema["properties"].values():
        for nested in (field, field.get("items"), field.get("additionalProperties")):
            if isinstance(nested, dict) and "anyOf" in nested:
                nested["anyOf"].sort(key=lambda alternative: (alternative == {"type": "null"}, alternative.get("$ref", "")))


def _describe(schema: Json, text: str) -> None:
    """Add a description to a schema, except to a reference, which can have none beside it in JSON Schema draft 7."""
    if "$ref" not in schema:
        schema["description"] = text


def field_notes(struct: type[Record]) -> dict[str, str]:
    """Return the strings below the fields of a struct in its source, by field. msgspec drops them."""
    body = ast.parse(textwrap.dedent(inspect.getsource(struct))).body[0]
    assert isinstance(body, ast.ClassDef)
    notes = {}
    for field, note in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(note, ast.Expr):
            notes[field.target.id] = " ".join(str(ast.literal_eval(note.value)).split())
    return notes


def _specs(specs: list[Any]) -> list[Json]:
    """Describe streams and buckets with every limit, including defaults."""
    return [{field: getattr(spec, field) for field in spec.__struct_fields__} for spec in specs]


def render() -> str:
    """Return the document as text, with sorted keys, so that it changes only where the contract does."""
    return json.dumps(document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the document to the given path."""
    if len(arguments) != 1:
        print("usage: python -m headrace_schemas.asyncapi PATH", file=sys.stderr)
        return 2
    Path(arguments[0]).write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
