"""Time graphs on Headrace and its peers. One of each: `python -m benchmarks --peer headrace --graph layers --repeat 5 --json FILE`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import against, measure, report, startup, transfer
from benchmarks.graphs import GRAPHS, LATENCY_TRIPS, Case, cases
from benchmarks.measure import Patience, Row
from benchmarks.peers import PEERS, Layout, available
from benchmarks.report import Figure

TIMED = [*GRAPHS, "latency"]
FIGURES = ["startup", "transfer"]
"""What is measured besides graphs."""
SMALL_PEERS = ["serial", "headrace"]
TERMINATED = 128 + signal.SIGTERM
"""Exit status of a program that was asked to end; as an exit, it ends the peers too."""
FILE_WIDTH = 180  # characters
SMALL = Patience(repeat=1)


def words(text: str) -> list[str]:
    """The words of a list with commas."""
    return [word for word in text.split(",") if word]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options; wrong names end the program with a list of the right ones."""
    sizes = "; ".join(f"{name}: {kind.counts}, {', '.join(f'{n:,}' for n in kind.sizes)}" for name, kind in GRAPHS.items())
    patience = Patience()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--graph", nargs="+", type=words, help=f"of {', '.join([*TIMED, *FIGURES])}; default: all")
    parser.add_argument("--peer", nargs="+", type=words, help=f"of {', '.join(PEERS)}; default: all that are installed")
    parser.add_argument(
        "--n", type=int, help=f"size. What it counts, and its default: {sizes}; latency: trips, {LATENCY_TRIPS}; transfer: MB"
    )
    parser.add_argument("--repeat", type=int, default=patience.repeat, help="runs of each that count; default: %(default)s")
    parser.add_argument("--timeout", type=float, default=patience.timeout, help="seconds of one run; default: %(default)s")
    parser.add_argument("--budget", type=float, default=patience.budget, help="seconds of one peer and graph; default: %(default)s")
    parser.add_argument("--small", action="store_true", help="only show that values are right: serial and headrace, tiny graphs, one run")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare Headrace here with Headrace there, in pairs of runs")
    parser.add_argument("--pairs", type=int, default=against.MIN_PAIRS, help="of runs, with --against; default and least: %(default)s")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="also write the measurements there, or to standard output")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table there")
    parser.add_argument("--hosts", type=int, default=1, help="of each cluster; default: %(default)s")
    parser.add_argument("--runners", type=int, default=2, help="on each host; default: %(default)s")
    options = parser.parse_args(argv)
    known = TIMED if options.small else [*TIMED, *FIGURES]
    options.graph = chosen(parser, "--graph", options.graph, known)
    if options.pairs < against.MIN_PAIRS:
        parser.error(f"--pairs {options.pairs}: fewer than {against.MIN_PAIRS} pairs say too little")
    options.peer = chosen(parser, "--peer", options.peer, SMALL_PEERS if options.small else available())
    return options


def chosen(parser: argparse.ArgumentParser, option: str, given: list[list[str]] | None, known: Sequence[str]) -> list[str]:
    """What was asked for, or everything."""
    names = [name for part in given for name in part] if given else list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"{option} {', '.join(unknown)}: not among {', '.join(known)} (peers need the extra `peers`)")
    return names


def measured_rows(options: argparse.Namespace, patience: Patience, say: Callable[[str], None]) -> list[Row]:
    """The graphs, one after the other."""
    rows = []
    for graph in options.graph:
        for case in cases(graph, options.n, options.small) if graph in TIMED else ():
            say(case.label)
            rows += measure.measure(case, fitting(options.peer, case), Layout(options.hosts, options.runners), patience)
    return rows


def fitting(peers: Sequence[str], case: Case) -> list[str]:
    """The peers to which a graph applies: there is no round trip to a cluster that does not stand."""
    return [peer for peer in peers if PEERS[peer].standing or case.graph != "latency"]


def measured_figures(options: argparse.Namespace, say: Callable[[str], None]) -> list[Figure]:
    """What is no graph."""
    figures: list[Figure] = []
    if "startup" in options.graph:
        say("startup")
        figures += startup.figures(options.peer, Layout(options.hosts, options.runners))
    if "transfer" in options.graph and "headrace" in options.peer:
        say("transfer")
        figures += transfer.figures(options.n or transfer.MEGABYTES)
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; returns the exit status."""
    options = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    patience = SMALL if options.small else Patience(options.repeat, options.timeout, options.budget)
    progress = Console(stderr=True)
    if options.against:
        return compared(options, patience, progress.print)
    rows = measured_rows(options, patience, progress.print)
    figures = measured_figures(options, progress.print)
    show(rows, figures, console(to_stderr=options.json == "-"))
    if options.json:
        write_json(report.as_record(rows, figures, Layout(options.hosts, options.runners)), options.json)
    if options.markdown:
        options.markdown.write_text(report.markdown(rows, figures))
    return int(any(row.failure and row.peer in SMALL_PEERS for row in rows))


def compared(options: argparse.Namespace, patience: Patience, say: Callable[[str], None]) -> int:
    """Compare with another checkout; the exit status is 1 if a graph is slower here, or failed."""
    try:
        checkout = against.checked(options.against)
    except against.NotACheckout as error:
        say(str(error))
        return 2
    found = []
    for case in (case for graph in options.graph if graph in TIMED for case in cases(graph, options.n, options.small)):
        say(case.label)
        found.append(against.compare(case, checkout, Layout(options.hosts, options.runners), options.pairs, patience))
    out = console(to_stderr=options.json == "-")
    out.print(against.table(found, checkout))
    for comparison in found:
        if comparison.failure:
            out.print(f"{comparison.label}: {comparison.failure}\n{comparison.log}", markup=False, highlight=False)
    if options.json:
        write_json([comparison.record() for comparison in found], options.json)
    return int(any(comparison.slower or comparison.failure for comparison in found))


def write_json(record: Any, target: str) -> None:
    """To a file, or to standard output if the target is "-"."""
    if target == "-":
        sys.stdout.write(report.to_json(record))
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_text(report.to_json(record))


def console(*, to_stderr: bool) -> Console:
    """Where tables go; wide enough for them in a file."""
    plain = Console(stderr=to_stderr)
    return plain if plain.is_terminal else Console(stderr=to_stderr, width=FILE_WIDTH)


def show(rows: Sequence[Row], figures: Sequence[Figure], out: Console) -> None:
    """Print the tables that have rows, and why peers are missing from them."""
    if rows:
        out.print(report.table(rows))
        if all(row.peak is None for row in rows):
            out.print("No peak memory: control groups cannot be made here (it takes root, and a writable /sys/fs/cgroup).")
    if figures:
        out.print(report.figures_table(figures))
    for row in rows:
        if row.failure:
            out.print(f"{row.peer} on {row.label}: {row.failure}\n{row.log}", markup=False, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
