"""The file systems of sinks. fsspec opens them; files in local folders are flushed, so that they survive a loss of power."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from io import RawIOBase
from typing import IO, Any, NamedTuple

from headrace.errors import MissingLibrary
from headrace.sinks import local
from headrace.sinks.places import LOCAL
from headrace.text import shown_place

PIECE = 4 << 20
"""Bytes that are hashed and written at a time. The size exceeds the CPU's caches, so a larger one gains nothing."""
PART = re.compile(r"(^|/)\.[^/]*\.part$")
"""Pattern of the name of a temporary file."""
Options = dict[str, Any]


class Receipt(NamedTuple):
    """The size of a written file in bytes, and "sha256:" with its digest."""

    bytes: int
    checksum: str


class HashingFile(RawIOBase):
    """A file that is written from its beginning to its end, and counts and hashes the bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._bytes = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the number of bytes written so far."""
        return self._bytes

    def write(self, data: Any) -> int:
        """Write all data, in pieces."""
        view = memoryview(data).cast("B")
        for start in range(0, len(view), PIECE):
            piece = view[start : start + PIECE]
            self._file.write(piece)
            self._hash.update(piece)
        self._bytes += len(view)
        return len(view)

    @property
    def receipt(self) -> Receipt:
        """The size and digest of what was written so far."""
        return Receipt(self._bytes, f"sha256:{self._hash.hexdigest()}")


def protocol_of(path: str) -> str:
    """Return the protocol of a URL, the part before "://"; empty for a local path."""
    protocol, found, _ = path.partition("://")
    return protocol if found else ""


def is_local(path: str) -> bool:
    """Return whether it is a path of the local file system."""
    return protocol_of(path) in LOCAL


def open_system(location: str, options: Options) -> tuple[Any, str]:
    """Return the fsspec file system of a location, and the path in it. Raises MissingLibrary, and any exception of opening it."""
    from fsspec.core import url_to_fs  # takes 70 ms, and most jobs have no sink

    try:
        system, path = url_to_fs(location, **options)
    except ImportError as error:
        raise MissingLibrary(f"{shown_place(location)!r} cannot be opened: {error}") from error
    return system, path


# --- writing ----------------------------------------------------------------------------------------------------------


def write(part: str, options: Options, encode: Callable[[IO[bytes]], object], seeks: bool, root: str = "") -> Receipt:
    """Write a file, and make sure that it is stored. If that fails, nothing of the file remains.

    encode: writes to a binary file; if it `seeks`, to a named file on a local disk, which it can also read. root: folder that a local file
    must be below; empty: anywhere. Raises SinkRefused, and the errors of the file system.
    """
    system, path = open_system(part, options)
    if root and is_local(part):
        local.below(os.path.dirname(path), root)
    try:
        system.makedirs(system._parent(path), exist_ok=True)
        if not seeks:
            return _write_forward(system, path, encode, is_local(part))
        if is_local(part):
            return _write_in_place(path, encode)
        with tempfile.NamedTemporaryFile() as file:
            encode(file)
            file.flush()
            return _copy(system, path, file.name)
    except BaseException:
        with contextlib.suppress(Exception):
            system.rm_file(path)
        raise


def _write_forward(system: Any, path: str, encode: Callable[[IO[bytes]], object], local: bool) -> Receipt:
    with system.open(path, "wb") as raw:
        file = HashingFile(raw)
        encode(file)  # type: ignore[arg-type]
        if local:
            raw.flush()
            os.fsync(raw.fileno())
    return file.receipt


def _write_in_place(path: str, encode: Callable[[IO[bytes]], object]) -> Receipt:
    with open(path, "w+b") as file:
        encode(file)
        file.flush()
        os.fsync(file.fileno())
    with open(path, "rb") as file:  # open it again: the encoder may have closed or replaced the file
        return Receipt(os.path.getsize(path), f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")


def _copy(system: Any, path: str, source: str) -> Receipt:
    with open(source, "rb") as file:
        return _write_forward(system, path, lambda target: shutil.copyfileobj(file, target, PIECE), False)


# --- committing -------------------------------------------------------------------------------------------------------


class NotThere(Exception):
    """The file to commit is missing, or differs from what was announced."""


def commit(part: str, location: str, options: Options, receipt: Receipt, root: str = "") -> None:
    """Give a part its final name, replacing any file that has it.

    If the part is gone and the right file is there, the part was committed before.

    root: folder that local files must be below; empty: anywhere. Raises NotThere, SinkRefused, and the errors of the file system.
    """
    system, path = open_system(location, options)
    source = system._strip_protocol(part)
    if is_local(location):
        _commit_locally(source, path, receipt, root)
        return
    found = _size(system, source)
    if found is None:
        _check_committed(_size(system, path), lambda: _checksum(system, path), location, receipt)
    elif found != receipt.bytes:
        raise NotThere(f"{part} has {found} bytes, and {receipt.bytes} were written")
    else:
        _move(system, source, path)


def _commit_locally(part: str, path: str, receipt: Receipt, root: str) -> None:
    name = os.path.basename(path)
    try:
        with local.opened_folder(os.path.dirname(path), root) as folder:
            found = local.size(os.path.basename(part), folder)
            if found is None:
                _check_committed(local.size(name, folder), lambda: local.checksum(name, folder), path, receipt)
            elif found != receipt.bytes:
                raise NotThere(f"{part} has {found} bytes, and {receipt.bytes} were written")
            else:
                local.rename(os.path.basename(part), name, folder)
    except FileNotFoundError:
        raise NotThere(f"the temporary file beside it is missing, and there is no file {path}") from None


def _check_committed(size: int | None, checksum: Callable[[], str], location: str, receipt: Receipt) -> None:
    if size != receipt.bytes or checksum() != receipt.checksum:
        what = f"there is no file {shown_place(location)}" if size is None else f"{shown_place(location)} is another file"
        raise NotThere(f"the temporary file beside it is missing, and {what}")


def _size(system: Any, path: str) -> int | None:
    """Return the size of a file in bytes; None if there is no file."""
    system.invalidate_cache(system._parent(path))
    try:
        return int(system.info(path)["size"])
    except FileNotFoundError:
        return None


def _checksum(system: Any, path: str) -> str:
    digest = hashlib.sha256()
    with system.open(path, "rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"


def _move(system: Any, part: str, path: str) -> None:
    from fsspec.spec import AbstractFileSystem

    if type(system).mv is not AbstractFileSystem.mv:
        _rename(system, part, path)
    else:  # an object store: the copy replaces an existing object
        system.cp_file(part, path)
        system.rm_file(part)


def _rename(system: Any, part: str, path: str) -> None:
    """Rename a file. Some servers replace an existing file when they rename, and some refuse to."""
    try:
        system.mv(part, path)
    except Exception:
        if _size(system, path) is None:
            raise
        system.rm_file(path)
        system.mv(part, path)


def remove(location: str, options: Options, root: str = "") -> None:
    """Remove a file, if it exists. root: as for `commit`."""
    system, path = open_system(location, options)
    with contextlib.suppress(FileNotFoundError):
        if is_local(location):
            with local.opened_folder(os.path.dirname(path), root) as folder:
                local.remove(os.path.basename(path), folder)
        else:
            system.rm_file(path)


def sweep(folder: str, job: str, options: Options, root: str = "") -> None:
    """Remove every temporary file of a job in a folder (see `places.part_of`).

    The folder may not exist: an object store has no empty folders.

    root: as for `commit`.
    """
    system, path = open_system(folder, options)
    with contextlib.suppress(FileNotFoundError):
        if is_local(folder):
            with local.opened_folder(path, root) as opened:
                for name in _parts_of(job, os.listdir(opened)):
                    local.remove(name, opened)
            return
        system.invalidate_cache(path)
        for name in _parts_of(job, system.ls(path, detail=False)):
            with contextlib.suppress(FileNotFoundError):
                system.rm_file(name)


def _parts_of(job: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if PART.search(name) and f".{job}-" in name.rpartition("/")[2]]


# --- reading ----------------------------------------------------------------------------------------------------------


def read_into(room: memoryview, location: str, options: Options) -> int:
    """Read a file into memory, up to the available room and one byte more. Returns the number of bytes read."""
    system, path = open_system(location, options)
    end = 0
    with system.open(path, "rb") as file:
        while piece := file.read(min(PIECE, len(room) - end) or 1):
            if end == len(room):
                return end + 1
            room[end : end + len(piece)] = piece
            end += len(piece)
    return end
