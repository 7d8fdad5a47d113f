"""Put, map, get and purge values of 1 KB to 1 GB, and send messages, beside others that do the like.

    python -m benchmarks.shm
    python -m benchmarks.shm --peers headrace_shm shared_memory --sizes 1KB 8MB --json shm.json

Peers that are not installed are left out: `pip install iceoryx2 ray`. It takes up to 6 GB of shared memory; without 1 GB values, 1 GB.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.shm import messages, report
from benchmarks.shm.peers import NAMES, installed
from benchmarks.shm.timing import measure

UNITS = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
SIZES = ["1KB", "32KB", "1MB", "8MB", "64MB", "1GB"]
MESSAGES = {1 << 10: 10_000, 8 << 20: 300}
"""Round trips of each size."""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shm", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peers", nargs="+", choices=NAMES, default=NAMES, help="default: all that are installed")
    parser.add_argument(
        "--sizes", nargs="+", type=parse_size, default=[parse_size(size) for size in SIZES], help="as 8MB; multiples of 8 bytes"
    )
    parser.add_argument("--repeat", type=int, help="values of each size; default: 5 to 300, fewer of large ones")
    parser.add_argument("--no-messages", action="store_true", help="leave out the messages")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    return parser.parse_args(argv)


def parse_size(text: str) -> int:
    """'32KB' in bytes. Raises ArgumentTypeError.

    >>> parse_size("32KB")
    32768
    """
    number, unit = text[:-2], text[-2:].upper()
    if unit not in UNITS or not number.isdigit() or number == "0":
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 1KB, 8MB or 1GB")
    return int(number) * UNITS[unit]


def measure_messages(iceoryx: bool) -> list[messages.Trip]:
    """Round trips in all ways that are installed."""
    trips = []
    for nbytes, count in MESSAGES.items():
        trips.append(messages.over_socket(nbytes, count))
        if iceoryx:
            trips += [messages.over_iceoryx(nbytes, count, wait) for wait in (True, False)]
    return trips


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    options = parse(argv)
    names = [name for name in options.peers if installed(name)]
    for name in set(options.peers) - set(names):
        print(f"{name} is not installed: left out", file=sys.stderr)
    if not names:
        return 1
    results = {name: measure(name, options.sizes, options.repeat) for name in names}
    print(report.table(results))
    trips = [] if options.no_messages else measure_messages("iceoryx2" in names)
    if trips:
        print("\n" + report.trip_table(trips))
    if options.json:
        options.json.write_text(json.dumps(report.as_record(results, trips), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
