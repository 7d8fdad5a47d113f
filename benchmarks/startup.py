"""What a cluster costs before and beside its work: its start and its idleness. (`queued` has what waiting tasks cost.)"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from statistics import median

from benchmarks.graphs import Case
from benchmarks.peers import PEERS, Layout
from benchmarks.process import PROJECT, PeerFailed, PeerProcess
from benchmarks.queued import queued_memory
from benchmarks.report import Figure

TIMEOUT = 60.0
STARTS = 3
"""Cold starts of each peer, of which the median counts."""
IDLE_SECONDS = 5
IMPORT = "import time; start = time.perf_counter(); import headrace; print(time.perf_counter() - start)"


def figures(peers: Sequence[str], layout: Layout) -> list[Figure]:
    """All of this module's figures, for the peers that have a cluster."""
    engines = list({PEERS[peer].module: peer for peer in reversed(peers) if peer != "serial"}.values())[::-1]  # each once
    found = [cold_start(peer, layout) for peer in engines]
    found += [idle_share(peer, layout) for peer in engines if PEERS[peer].standing]
    if "headrace" in peers:
        found += [import_time(), queued_memory(layout)]
    return found


def cold_start(peer: str, layout: Layout) -> Figure:
    """From asking for a cluster to the first result, in a fresh process each time."""
    try:
        return Figure("start to first result", peer, median(_one_start(peer, layout) for _ in range(STARTS)), "s", f"median of {STARTS}")
    except PeerFailed as failed:
        return Figure("start to first result", peer, None, "s", failed.reason)


def _one_start(peer: str, layout: Layout) -> float:
    process = PeerProcess(peer, layout)
    try:
        return process.started + float(process.run(Case("latency", (1,)), TIMEOUT)["walls"][0])
    finally:
        process.close()


def idle_share(peer: str, layout: Layout) -> Figure:
    """CPU time of everything that runs while nothing is to be done."""
    try:
        process = PeerProcess(peer, layout)
        try:
            measured = process.run(Case("idle", (IDLE_SECONDS,)), TIMEOUT)
        finally:
            process.close()
    except PeerFailed as failed:
        return Figure("idle cluster", peer, None, "% of a core", failed.reason)
    return Figure("idle cluster", peer, 100 * measured["cpu"]["total"] / measured["wall"], "% of a core", f"over {IDLE_SECONDS} s")


def import_time() -> Figure:
    """Of `import headrace` in a fresh interpreter."""
    taken = [float(subprocess.check_output([sys.executable, "-c", IMPORT], cwd=PROJECT, text=True)) for _ in range(2 * STARTS)]
    return Figure("import headrace", "headrace", median(taken), "s", f"median of {2 * STARTS}")
