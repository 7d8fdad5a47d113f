"""The names of the formats of outputs, and the extensions of their files.

Pure, so that code that only names files does not import the libraries that read them.
"""

from __future__ import annotations

from headrace.errors import GraphError
from headrace.text import shown_place

ENDINGS = {"npy": ".npy", "npz": ".npz", "nc": ".nc", "parquet": ".parquet", "arrow": ".arrow", "pickle": ".pickle"}
"""File extensions, by the name of their format."""
BY_ENDING = {ending: name for name, ending in ENDINGS.items()} | {".pkl": "pickle", ".nc4": "nc", ".feather": "arrow"}
OTHER = "other"
"""The format of files that a user's encoder wrote, if the sink has no encoding: Headrace does not decode them."""


def encoding_by_ending(ending: str, path: str) -> str:
    """Return the name of the format for a file extension. path: the file's path, for the error. Raises GraphError if it is unknown."""
    found = BY_ENDING.get(ending.lower())
    if found is None:
        raise GraphError(
            f"{shown_place(path)!r} ends in {ending}, which is not a known format: use the extension {', '.join(BY_ENDING)}, "
            "give the format (encoding=) or a function that writes it (encoder=), or end the path of a folder with a slash"
        )
    return found
