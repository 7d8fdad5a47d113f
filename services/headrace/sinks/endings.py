"""The names of the formats in which outputs are written, and the endings of their files. Pure: who names files need not read them."""

from __future__ import annotations

from headrace.errors import GraphError
from headrace.text import shown_place

ENDINGS = {"npy": ".npy", "npz": ".npz", "nc": ".nc", "parquet": ".parquet", "arrow": ".arrow", "pickle": ".pickle"}
"""By the format's name."""
BY_ENDING = {ending: name for name, ending in ENDINGS.items()} | {".pkl": "pickle", ".nc4": "nc", ".feather": "arrow"}
OTHER = "other"
"""The format of what a user's encoder wrote, unless that gave it a name: such a file is not decoded."""


def encoding_by_ending(ending: str, path: str) -> str:
    """The name of the format of files with that ending. Raises GraphError if there is none; `path` is the file's."""
    found = BY_ENDING.get(ending.lower())
    if found is None:
        raise GraphError(
            f"{shown_place(path)!r} ends in {ending}, which is no format that is written here: end it in {', '.join(BY_ENDING)}, "
            "give the format (encoding=) or a function that writes it (encoder=), or end a folder in a slash"
        )
    return found
