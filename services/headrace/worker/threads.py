"""The number of threads that numerical libraries use in a runner: its share of the cores, unless the user sets another number.

By default, BLAS and OpenMP start a thread for every core in every process: eight runners on eight cores have 64 threads, which wait for one
another. The libraries read environment variables when they are loaded, so the worker sets these before numpy is imported, if possible. For
a library that is loaded already, it calls the library's function.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from headrace.variables import read_settings

GENERAL = "OMP_NUM_THREADS"
"""The variable that most libraries read if their own is not set."""
VARIABLES = (
    GENERAL,
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
CALLS = (
    ("openblas", "OPENBLAS_NUM_THREADS", "scipy_openblas_set_num_threads64_", "scipy_openblas_get_num_threads64_"),
    ("openblas", "OPENBLAS_NUM_THREADS", "scipy_openblas_set_num_threads", "scipy_openblas_get_num_threads"),
    ("openblas", "OPENBLAS_NUM_THREADS", "openblas_set_num_threads64_", "openblas_get_num_threads64_"),
    ("openblas", "OPENBLAS_NUM_THREADS", "openblas_set_num_threads", "openblas_get_num_threads"),
    ("mkl_rt", "MKL_NUM_THREADS", "MKL_Set_Num_Threads", "MKL_Get_Max_Threads"),
    ("blis", "BLIS_NUM_THREADS", "bli_thread_set_num_threads", "bli_thread_get_num_threads"),
    ("gomp", GENERAL, "omp_set_num_threads", "omp_get_max_threads"),
    ("libomp", GENERAL, "omp_set_num_threads", "omp_get_max_threads"),
    ("iomp", GENERAL, "omp_set_num_threads", "omp_get_max_threads"),
)
"""Part of a library's file name, the variable that the library reads, and its functions to set and get the number of threads."""
MAPS = Path("/proc/self/maps")


class ThreadSettings(msgspec.Struct, kw_only=True, frozen=True):
    """The threads of runners. They are not in `worker.settings`, because they are read before any library that starts threads is loaded."""

    VARIABLES: ClassVar[dict[str, str]] = {"runner_threads": "HEADRACE_RUNNER_THREADS"}

    runner_threads: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Threads that BLAS and OpenMP use in each runner. By default the cores that the worker may use, divided by its runners, so that
    threads do not wait for one another; `OMP_NUM_THREADS` and similar variables work too."""


def set_variables(runners: int, env: MutableMapping[str, str] | None = None) -> None:
    """Set the variables that the user did not set, for a machine with this number of runners. Runners inherit them.

    HEADRACE_RUNNER_THREADS overrides all of them. Without it, OMP_NUM_THREADS also applies to libraries that have their own variable.
    Raises SettingsError if HEADRACE_RUNNER_THREADS is not a positive integer.
    """
    env = os.environ if env is None else env
    settings = read_settings(ThreadSettings, env)
    chosen = str(settings.runner_threads or "")
    default = env.get(GENERAL) or str(share(available_cores(), runners))
    for variable in VARIABLES:
        env[variable] = chosen or env.get(variable) or default


def share(cores: float, runners: int) -> int:
    """Return the number of threads of each runner, if `runners` of them share the cores.

    >>> share(8, 2), share(2, 8)
    (4, 1)
    """
    return max(1, int(cores // runners))


def tell_loaded() -> None:
    """Apply the variables to the libraries that this process loaded before the variables were set.

    A library that has the right number already is left alone, because setting it makes OpenBLAS start its threads.
    """
    for _, variable, setter, getter in _loaded():
        wanted = os.environ.get(variable, "").partition(",")[0]
        if wanted.isdigit() and getter() != int(wanted):
            setter(int(wanted))


def loaded_threads() -> dict[str, int]:
    """Return the number of threads that each library in this process uses, by the library's file name."""
    return {os.path.basename(library._name): getter() for library, _, _, getter in _loaded()}


def _loaded() -> Iterator[tuple[ctypes.CDLL, str, Callable[[int], object], Callable[[], int]]]:
    """Find the libraries of `CALLS` in this process, with the variable and the functions of each."""
    try:
        paths = {line.split(maxsplit=5)[-1] for line in MAPS.read_text().splitlines() if ".so" in line}
    except OSError:  # not Linux
        return
    for path in sorted(paths):
        for part, variable, setter, getter in CALLS:
            if part in os.path.basename(path):
                library = _open(path)
                if library is not None and hasattr(library, setter) and hasattr(library, getter):
                    yield library, variable, getattr(library, setter), getattr(library, getter)
                    break


def _open(path: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(path)
    except OSError:  # the file was replaced meanwhile
        return None


# --- cores ------------------------------------------------------------------------------------------------------------


def available_cores() -> float:
    """Return how many cores this process may use: those that it is bound to, or fewer if its control group has a quota."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(bound, cpu_quota())


def cpu_quota(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """Return the CPU quota of this process's control groups, in cores. Infinity without a quota."""
    quotas = [math.inf]
    for line in _read(groups).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            quotas += [_quota(_read(folder / "cpu.max").split()) for folder in _with_parents(root, path)]
        elif "cpu" in controllers.split(","):
            for folder in _with_parents(root / "cpu", path):
                quotas.append(_quota([_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")]))
    return min(quotas)


def _with_parents(root: Path, path: str) -> list[Path]:
    """List the folders of a control group and its parents. Those outside the container are left out."""
    own = root / path.strip("/")
    return [own, *(parent for parent in own.parents if parent.is_relative_to(root))]


def _quota(values: list[str]) -> float:
    """Convert a quota and a period, both in microseconds, to cores."""
    if len(values) < 2 or not values[0].isdigit() or not values[1].isdigit() or not int(values[1]):
        return math.inf
    return int(values[0]) / int(values[1])


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
