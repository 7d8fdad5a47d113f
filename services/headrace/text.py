"""Text for people, without control characters for the terminal and without passwords."""

from __future__ import annotations

import re

_DIRECTIONS = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
"""Characters that change the order of those after them, or end a line."""
_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0), *_DIRECTIONS)}
_IN_JSON = {code: f"\\u{code:04x}" for code in _CONTROLS if code >= 0x7F}


def one_line(text: str) -> str:
    r"""Escape characters that a terminal would obey instead of showing them, because names and errors come from users who submit graphs.

    >>> print(one_line("two\nlines"))
    two\nlines
    """
    return text.translate(_CONTROLS)


def lines(text: str) -> str:
    r"""Escape such characters in a text of several lines, and keep the lines.

    >>> print(lines("one\ntwo\a"))
    one
    two\x07
    """
    return "\n".join(map(one_line, text.split("\n")))


def plain_json(text: str) -> str:
    """Escape such characters in JSON, which itself escapes the first 32 characters."""
    return text.translate(_IN_JSON)


def redacted(urls: str) -> str:
    """Remove user and password from an address, or from several separated by commas.

    >>> redacted("nats://me:secret@hub:4222,nats://other:4222")
    'nats://***@hub:4222,nats://other:4222'
    """
    return ",".join(_LOGIN.sub(r"\1***@", url) for url in urls.split(","))


def shown_place(location: str) -> str:
    """Remove user and password from the path or URL of a file.

    >>> shown_place("ftp://me:secret@hub/out/a@b.npy"), shown_place("/home/me@work/a.npy")
    ('ftp://***@hub/out/a@b.npy', '/home/me@work/a.npy')
    """
    return _LOGIN_OF_A_FILE.sub(r"\1***@", location)


_LOGIN_OF_A_FILE = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/]*@")
_LOGIN = re.compile(r"^(\s*(?:[A-Za-z][A-Za-z0-9+.-]*://)?)[^\s]*@")
"""Everything before the last at sign, since passwords may contain one."""
