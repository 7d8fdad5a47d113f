"""The contract's streams and buckets as JetStream configurations. Durations go over the wire in nanoseconds."""

from __future__ import annotations

from typing import Any

from headrace_schemas.streams import BucketSpec, ObjectStoreSpec, StreamSpec


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


def _base(name: str, subjects: list[str], max_bytes: int, replicas: int) -> dict[str, Any]:
    return {"name": name, "subjects": subjects, "storage": "file", "max_bytes": max_bytes, "num_replicas": replicas, "allow_direct": True}


def stream(spec: StreamSpec, replicas: int) -> dict[str, Any]:
    """Return the configuration of a stream with its limits, or of one that copies from another."""
    config = _base(spec.name, spec.subjects, spec.max_bytes, replicas) | {
        "retention": spec.retention,
        "discard": spec.discard,
        "max_age": _ns(spec.max_age),
        "max_msgs_per_subject": spec.max_msgs_per_subject,
        "duplicate_window": _ns(spec.duplicate_window),
    }
    if spec.source:
        config["sources"] = [{"name": spec.source, "filter_subject": spec.source_filter}]
    return config


def bucket(spec: BucketSpec, replicas: int) -> dict[str, Any]:
    """Return the configuration of a key-value bucket in the layout of NATS ADR-8, so that other clients recognise it."""
    config = _base(f"KV_{spec.name}", [f"$KV.{spec.name}.>"], spec.max_bytes, replicas) | {
        "max_msgs_per_subject": spec.history,
        "discard": spec.discard,
        "max_age": _ns(spec.max_age),
        "allow_rollup_hdrs": True,
        "deny_delete": True,
    }
    if spec.markers:
        config |= {"allow_msg_ttl": True, "subject_delete_marker_ttl": _ns(spec.markers)}
    return config


def object_store(spec: ObjectStoreSpec, replicas: int) -> dict[str, Any]:
    """Return the configuration of an object store in the layout of NATS ADR-20."""
    subjects = [f"$O.{spec.name}.C.>", f"$O.{spec.name}.M.>"]
    return _base(f"OBJ_{spec.name}", subjects, spec.max_bytes, replicas) | {
        "discard": "new",
        "max_age": _ns(spec.ttl),
        "allow_rollup_hdrs": True,
    }


def upgrade(present: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the settings to change in an existing stream that an older release created, with their values.

    These are missing subjects, and the maximum age and the discard policy of a stream that refuses new messages when it is full, but should
    drop old ones. Operators may have set everything else on purpose.
    """
    changes: dict[str, Any] = {}
    has = present.get("subjects", [])
    if missing := [subject for subject in wanted["subjects"] if subject not in has]:
        changes["subjects"] = has + missing
    if wanted.get("max_age") and not present.get("max_age") and (present.get("discard"), wanted["discard"]) == ("new", "old"):
        changes |= {"max_age": wanted["max_age"], "discard": wanted["discard"]}
    return changes
