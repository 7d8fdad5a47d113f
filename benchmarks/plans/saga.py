"""SAGA's algorithms (PyPI `anrg-saga`, extra `saga`), each plan made in another process with a limit of time.

SAGA knows hosts that execute one task at a time, and links without contention. Its tasks have one output each: the bytes of a dependency
are those of all outputs that pass between the two tasks.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import selectors
import subprocess
import sys
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.plans.clusters import Cluster
from benchmarks.plans.emitted import Row
from benchmarks.plans.instances import Instance
from benchmarks.plans.scoring import Made, NoPlan, Planner

PROJECT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 20.0
"""What an algorithm may take for one plan. SAGA is plain Python, and some algorithms are cubic in the number of tasks."""
START_SECONDS = 120.0
"""What importing SAGA may take on a busy machine."""
HEFT = "HeftScheduler"
PREFIX = "saga:"
"""Of the names of SAGA's algorithms among other planners."""
ENVIRONMENT = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""SAGA iterates over sets of names: without a fixed seed, ties are broken differently in each process."""


def installed() -> bool:
    """Return whether SAGA is installed."""
    return importlib.util.find_spec("saga") is not None


class Saga:
    """A process with SAGA. One that is ended for its slowness is replaced when the next plan is asked for.

    command: what to run instead of `saga_process`, in tests.
    """

    def __init__(self, limit: float = LIMIT_SECONDS, command: list[str] | None = None) -> None:
        self.limit = limit
        self._command = command or [sys.executable, "-m", "benchmarks.plans.saga_process"]
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = b""
        self.algorithms: list[str] = []
        self._start()

    def __enter__(self) -> Saga:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def plan(self, algorithm: str, instance: Instance, cluster: Cluster) -> Made:
        """Return the plan of an algorithm for hosts of one runner. Raises NoPlan."""
        if cluster.runners != 1:
            raise NoPlan("a host of SAGA executes one task at a time")
        self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order(algorithm, instance, cluster)).encode() + b"\n")
            self._process.stdin.flush()
            found = self._read(self.limit)
        except (TimeoutError, EOFError, BrokenPipeError) as error:
            self.close()
            raise NoPlan(f"over {self.limit:g} s" if isinstance(error, TimeoutError) else "its process ended") from None
        if "error" in found:
            raise NoPlan(found["error"])
        rows = sorted((Row(task, host, 0, start, end) for task, host, start, end in found["placements"]), key=lambda row: row.task)
        return Made(rows, found["planning_s"])

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    if pipe is not None:
                        pipe.close()
            self._process, self._pending = None, b""

    def _start(self) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                cwd=PROJECT,
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            try:
                self.algorithms = self._read(START_SECONDS)["algorithms"]
            except BaseException:
                self.close()
                raise

    def _read(self, timeout: float) -> dict[str, Any]:
        """Return the next line. Raises TimeoutError, and EOFError if the process has ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                chunk = os.read(self._process.stdout.fileno(), 1 << 20)
                if not chunk:
                    raise EOFError
                self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


def planners(process: Saga) -> dict[str, Planner]:
    """Return SAGA's algorithms by name, with the prefix."""
    return {PREFIX + name: partial(process.plan, name) for name in process.algorithms}


def order(algorithm: str, instance: Instance, cluster: Cluster) -> dict[str, Any]:
    """Return what to ask the process for."""
    tasks = []
    for task in instance.tasks:
        nbytes: dict[int, int] = defaultdict(int)
        for source, output in task.inputs:
            nbytes[source] += instance.tasks[source].outputs[output]
        tasks.append([task.seconds, [list(edge) for edge in nbytes.items()]])
    return {"algorithm": algorithm, "tasks": tasks, "hosts": cluster.hosts, "bandwidth": cluster.bandwidth}
