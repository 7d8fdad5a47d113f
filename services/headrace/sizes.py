"""Parses sizes in bytes and durations in seconds, as people write them."""

from __future__ import annotations

import re
from fractions import Fraction

MIN_CAPACITY = 1 << 20
"""Smallest store, in bytes. A smaller number has no room for arrays, and is probably meant in another unit."""
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", re.IGNORECASE | re.ASCII)


_SECONDS: dict[str, int | Fraction] = {"": 1, "ms": Fraction(1, 1000), "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)?", re.IGNORECASE | re.ASCII)


def parse_duration(text: str) -> float:
    """Parse a duration into seconds: a number, optionally followed by ms, s, m (or min), h or d. Raises ValueError.

    >>> parse_duration("24h"), parse_duration("1.5 min"), parse_duration("10")
    (86400.0, 90.0, 10.0)
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a duration: give seconds, or a number with s, m, h or d, like 24h")
    return float(Fraction(found[1]) * _SECONDS[(found[2] or "").lower()])


def parse_size(text: str) -> int:
    """Parse a size into bytes: a number, optionally followed by K, M, G or T (powers of 1000) or Ki, Mi, Gi or Ti (powers of 1024).

    Raises ValueError.

    >>> parse_size("4G"), parse_size("1.5Gi"), parse_size("65536")
    (4000000000, 1610612736, 65536)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a size: give bytes, or a number with K, M, G, Ki, Mi or Gi, like 4G")
    return int(Fraction(found[1]) * _FACTORS[(found[2] or "").lower()])


def shown_size(nbytes: int) -> str:
    """Format a size for people.

    >>> shown_size(3 << 29), shown_size(700_000)
    ('1,536 MiB', '0.7 MiB')
    """
    mib = nbytes / (1 << 20)
    return f"{mib:,.0f} MiB" if mib >= 10 else f"{mib:.1f} MiB"


def parse_capacity(text: str) -> int:
    """Parse the size of a host's store into bytes: at least `MIN_CAPACITY`, or 0 for the default. Raises ValueError."""
    size = parse_size(text)
    if size and size < MIN_CAPACITY:
        raise ValueError(f"{text!r} is too small for a store: give at least {MIN_CAPACITY} bytes (1Mi), or 0 for a share of the memory")
    return size
