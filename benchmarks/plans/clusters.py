"""The clusters that plans are made for: equal hosts, each with a link of its own."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass

_FACTORS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_BANDWIDTH = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(bit|b)?(?:/s)?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Cluster:
    """Equal hosts. runners: of each host. bandwidth: bytes per second of each host's link, up and down. latency: seconds per transfer."""

    hosts: int
    runners: int
    bandwidth: float
    latency: float = 0.0

    @property
    def label(self) -> str:
        """A name for tables and files, like 8x1-100MB."""
        return f"{self.hosts}x{self.runners}-{shown_bandwidth(self.bandwidth)}"


def parse_bandwidth(text: str) -> float:
    """Parse a bandwidth into bytes per second. Raises argparse.ArgumentTypeError.

    >>> parse_bandwidth("100MB/s"), parse_bandwidth("10Gbit")
    (100000000.0, 1250000000.0)
    """
    found = _BANDWIDTH.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a bandwidth: give a number with a unit, like 100MB/s or 10Gbit")
    bits = (found[3] or "").lower() == "bit"
    return float(found[1]) * _FACTORS[found[2].lower()] / (8 if bits else 1)


def shown_bandwidth(bandwidth: float) -> str:
    """Format bytes per second for labels.

    >>> shown_bandwidth(1e8), shown_bandwidth(1.25e9)
    ('100MB', '1.25GB')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bandwidth >= factor:
            return f"{bandwidth / factor:g}{unit}"
    return f"{bandwidth:g}B"
