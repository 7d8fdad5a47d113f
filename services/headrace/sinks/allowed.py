"""The places where sinks may write: those that the operator allows, without paths that are never allowed.

    HEADRACE_SINKS=/data/products,s3://bucket/prefix

Without this variable, sinks may write anywhere. The controller checks a job's sinks before the job runs, a runner before it writes a file,
and the publisher before it renames or removes one.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from typing import NamedTuple

from headrace.errors import GraphError, SettingsError, SinkRefused
from headrace.sinks.files import is_local
from headrace.sinks.places import parse, plain
from headrace.text import shown_place

VARIABLE = "HEADRACE_SINKS"


class Allowed(NamedTuple):
    """The roots below which sinks may write: paths of folders, or URLs. Without any, sinks may write anywhere."""

    roots: tuple[str, ...] = ()

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Allowed:
        """Read HEADRACE_SINKS. Raises SettingsError for a root that is relative, or contains `..` or a pattern."""
        text = (os.environ if env is None else env).get(VARIABLE, "")
        try:
            return cls(tuple(_root(each.strip()) for each in text.split(",") if each.strip()))
        except GraphError as error:
            raise SettingsError(f"{VARIABLE}: {error}") from None

    def check_path(self, path: str) -> None:
        """Raise SinkRefused unless all files of a sink with this path are in allowed places, and GraphError for an invalid path."""
        parts = parse(path).parts
        beginning = plain(parts[0].text)
        if any(_climbs(part.text) for part in parts) or "::" in path:
            raise SinkRefused(f"the sink {shown_place(path)!r} has '..' in it, or chains file systems ('::'): give a plain path")
        if is_local(path) and not beginning.startswith("/"):
            raise SinkRefused(
                f"the sink {shown_place(path)!r} is a relative path, which is a different folder on each host: give an absolute path"
            )
        whole = parts[0].key == "" and len(parts) == 1
        if self.roots and not any(_is_below(beginning, root, whole) for root in self.roots):
            raise SinkRefused(self._refusal(f"the sink {shown_place(path)!r}"))

    def check_file(self, location: str) -> str:
        """Return the root above a file with this final or temporary name; empty if all places are allowed. Raises SinkRefused."""
        path = plain(location)
        if _climbs(path) or "::" in location or (is_local(location) and not path.startswith("/")):
            raise SinkRefused(f"the file {shown_place(location)!r} of a sink leads out of its folder")
        if not self.roots:
            return ""
        for root in self.roots:
            if _is_below(path, root, False):
                return root
        raise SinkRefused(self._refusal(f"the file {shown_place(location)!r}"))

    def _refusal(self, what: str) -> str:
        roots = ", ".join(map(shown_place, self.roots))
        return f"{what} is outside the places where sinks may write: choose a place below {roots} ({VARIABLE} of the services)"


def _root(text: str) -> str:
    root = plain(text).rstrip("/") or "/"
    if is_local(text) and not root.startswith("/"):
        raise GraphError(f"{text!r} is neither an absolute path nor a URL")
    if _climbs(root) or "::" in text or "{" in text:
        raise GraphError(f"{text!r} is not a plain folder: it must not have '..', '::' or '{{' in it")
    return root


def _climbs(text: str) -> bool:
    """Return whether a path contains '..' or a NUL character."""
    return ".." in text.replace("\\", "/").split("/") or "\0" in text


def _is_below(path: str, root: str, or_equal: bool) -> bool:
    """Return whether a path is below a root. or_equal: whether the root itself counts."""
    return path.startswith(posixpath.join(root, "")) or (or_equal and path.rstrip("/") == root)
