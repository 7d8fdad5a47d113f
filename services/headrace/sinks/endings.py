"""The names of the formats in which outputs are written, and the endings of their files. Pure, so that code which only names files does not
import what reads them."""

from __future__ import annotations

from headrace.errors import GraphError
from headrace.text import shown_place

ENDINGS = {"npy": ".npy", "npz": ".npz", "nc": ".nc", "parquet": ".parquet", "arrow": ".arrow", "pickle": ".pickle"}
"""Endings of files, by the name of their format."""
BY_ENDING = {ending: name for name, ending in ENDINGS.items()} | {".pkl": "pickle", ".nc4": "nc", ".feather": "arrow"}
OTHER = "other"
"""The format of files that a user's encoder wrote, if the sink has no encoding: they are not decoded."""


def encoding_by_ending(ending: str, path: str) -> str:
    """The name of the format of files with an ending. path: of the file, for the error. Raises GraphError for an unknown ending."""
    found = BY_ENDING.get(ending.lower())
    if found is None:
        raise GraphError(
            f"{shown_place(path)!r} ends in {ending}, which is not a known format: end it in {', '.join(BY_ENDING)}, "
            "give the format (encoding=) or a function that writes it (encoder=), or end a folder in a slash"
        )
    return found
