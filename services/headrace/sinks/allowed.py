"""Where sinks may write: what the operator allows, and what is never allowed.

    HEADRACE_SINKS=/data/products,s3://bucket/prefix

Without it, a sink may be wherever its path says. Every service checks: the controller before a job runs, a runner before it writes, the
publisher before it gives a file its name or removes one.
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
    """Below which roots sinks may write: paths of folders, or URLs; anywhere if there are none."""

    roots: tuple[str, ...] = ()

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Allowed:
        """Read HEADRACE_SINKS. Raises SettingsError for a root that is relative, or has `..` or a pattern in it."""
        text = (os.environ if env is None else env).get(VARIABLE, "")
        try:
            return cls(tuple(_root(each.strip()) for each in text.split(",") if each.strip()))
        except GraphError as error:
            raise SettingsError(f"{VARIABLE}: {error}") from None

    def check_path(self, path: str) -> None:
        """Raises SinkRefused unless every file of a sink with this path is where one may be; GraphError for a path that is none."""
        parts = parse(path).parts
        beginning = plain(parts[0].text)
        if any(_climbs(part.text) for part in parts) or "::" in path:
            raise SinkRefused(f"the sink {shown_place(path)!r} leads out of its folder, or chains file systems: give it a plain path")
        if is_local(path) and not beginning.startswith("/"):
            raise SinkRefused(
                f"the sink {shown_place(path)!r} is a relative path, which is another folder on each host: give an absolute one"
            )
        whole = parts[0].key == "" and len(parts) == 1
        if self.roots and not any(_is_below(beginning, root, whole) for root in self.roots):
            raise SinkRefused(self._refusal(f"the sink {shown_place(path)!r}"))

    def check_file(self, location: str) -> str:
        """The root that a file, by its final or temporary name, is below; empty if anything is allowed. Raises SinkRefused."""
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
        return f"{what} is not where sinks may write here: {roots} ({VARIABLE} of the services). Choose a place there"


def _root(text: str) -> str:
    root = plain(text).rstrip("/") or "/"
    if is_local(text) and not root.startswith("/"):
        raise GraphError(f"{text!r} is neither an absolute path nor a URL")
    if _climbs(root) or "::" in text or "{" in text:
        raise GraphError(f"{text!r} is no plain folder")
    return root


def _climbs(text: str) -> bool:
    """Whether a path goes up, or has what file systems end a name at."""
    return ".." in text.replace("\\", "/").split("/") or "\0" in text


def _is_below(path: str, root: str, or_equal: bool) -> bool:
    """Whether a path begins with a root, and goes on below it. or_equal: whether it may be the root."""
    return path.startswith(posixpath.join(root, "")) or (or_equal and path.rstrip("/") == root)
