"""Records where code that travels by value came from: its file and source lines, for tracebacks in the process that runs it.

cloudpickle drops the file name of a code object, so that equal code has equal bytes wherever it is defined. Headrace keeps that property:
file names and lines travel beside the pickles (`Sources.specs`), and a code object finds its own by a fingerprint.
"""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType

from headrace_schemas.graph import SourceSpec

MAX_LINES = 400
"""Most lines that are sent of one function. For the lines beyond that, a traceback has only the file and the line number."""
MAX_CHARACTERS = 128 << 10
"""Most characters of source that are sent with a graph, which travels through NATS."""
_MAX_REGISTERED = 10_000
"""Code objects whose files a process remembers; when there are more, it forgets them all. A runner lives through many jobs."""

_files: dict[str, str] = {}
"""The file of each registered code object, by fingerprint."""
_located: dict[CodeType, tuple[str, str, CodeType]] = {}
"""The result of `locate` for a code object, with its fingerprint and its file."""
_latest: list[SourceSpec] = []
"""The specs that were registered last."""


class Sources:
    """The files and lines of the code objects in one or more pickles."""

    def __init__(self) -> None:
        self.codes: list[CodeType] = []
        self._specs: list[SourceSpec] | None = None

    def add(self, code: CodeType) -> None:
        """Record a code object."""
        self.codes.append(code)
        self._specs = None

    def add_known(self, codes: list[CodeType], specs: list[SourceSpec]) -> None:
        """Add code objects for which `specs` is known."""
        self._specs = None if self.codes else specs
        self.codes += codes

    def specs(self) -> list[SourceSpec]:
        """Return what travels: for each file, the code objects defined in it, and its lines in runs. Do not modify it."""
        if self._specs is None:
            self._specs = _specs_of(self.codes)
        return self._specs


def _specs_of(added: list[CodeType]) -> list[SourceSpec]:
    lines: dict[str, dict[int, str]] = {}
    codes: dict[str, dict[str, None]] = {}
    characters = 0
    for code in added:
        file = code.co_filename
        name, texts = _origin(code, file)
        codes.setdefault(file, {})[name] = None
        known = lines.setdefault(file, {})
        for number, line in enumerate(texts, code.co_firstlineno):
            if number not in known and characters + len(line) <= MAX_CHARACTERS:
                known[number] = line
                characters += len(line)
    return [
        SourceSpec(file=file, codes=list(names), first=[first for first, _ in runs], texts=[text for _, text in runs])
        for file, names in codes.items()
        for runs in [list(_runs(lines[file]))]
    ]


def register(specs: list[SourceSpec]) -> None:
    """Let code that is unpickled later know its file, and let tracebacks find its lines.

    These lines take precedence over a file of that name on this machine, which may be another one, or a newer one.
    """
    global _latest
    if specs == _latest and all(spec.file in linecache.cache for spec in specs):
        return
    _latest = specs
    if len(_files) > _MAX_REGISTERED:
        _files.clear()
        _located.clear()
    for spec in specs:
        _files.update(dict.fromkeys(spec.codes, spec.file))
        _cache_lines(spec)


def locate(code: CodeType) -> CodeType:
    """Return the code object with the name of its file, if that was registered, or else unchanged."""
    known = _located.get(code)
    if known is not None:
        name, file, located = known
        if _files.get(name) == file and located.co_qualname == code.co_qualname and located.co_linetable == code.co_linetable:
            return located
    name = _fingerprint(code)
    if name not in _files:
        return code
    file = _files[name]
    located = code.replace(co_filename=file)
    _located[located] = name, file, located
    return located


def _cache_lines(spec: SourceSpec) -> None:
    blocks = [(first, text.splitlines(keepends=True)) for first, text in zip(spec.first, spec.texts, strict=True)]
    if not blocks:
        return
    lines = ["\n"] * max(first - 1 + len(block) for first, block in blocks)
    for first, block in blocks:
        lines[first - 1 : first - 1 + len(block)] = block
    # Without a modification time, linecache never reads the file from the disk.
    linecache.cache[spec.file] = (sum(map(len, lines)), None, lines, spec.file)


@lru_cache(maxsize=1000)
def _origin(code: CodeType, file: str) -> tuple[str, list[str]]:
    """Return fingerprint and source lines of a code object. They are cached, because programs submit the same functions again and again.

    file: the file name in the code object, which is ignored when code objects are compared.
    """
    last = max((line for _, _, line in code.co_lines() if line is not None), default=code.co_firstlineno)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            last = max(last, constant.co_firstlineno + len(_origin(constant, file)[1]) - 1)
    lines = linecache.getlines(file)[code.co_firstlineno - 1 : min(last, code.co_firstlineno - 1 + MAX_LINES)]
    return _fingerprint(code), lines


def _fingerprint(code: CodeType) -> str:
    """Return a hex digest of what distinguishes code objects: name, place in the file, and instructions."""
    digest = hashlib.blake2b(digest_size=8)
    for part in (code.co_qualname.encode(), str(code.co_firstlineno).encode(), code.co_code, code.co_linetable):
        digest.update(part)
    return digest.hexdigest()


def _runs(lines: dict[int, str]) -> Iterator[tuple[int, str]]:
    """Yield runs of consecutive lines: the number of the first line, and the text."""
    numbers = sorted(lines)
    start = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] != numbers[place - 1] + 1:
            run = numbers[start:place]
            yield run[0], "".join(lines[number] for number in run)
            start = place
