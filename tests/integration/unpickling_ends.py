"""One service of a cluster, in which unpickling anything ends the process: with status 66, and said in its log.

    python -m tests.integration.unpickling_ends controller
    python -m tests.integration.unpickling_ends worker NAME

The bus is that of the environment. A worker's runners do unpickle: they are forked before it is forbidden.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from typing import Any, NoReturn

from headrace.bus import BusSettings, parent_death_signal, run_service

UNPICKLED = 66
LEASE_SECONDS = 60
"""Of a worker: no machine is so busy that it ends for want of a lease, in tests of what else may end it."""


def forbid() -> None:
    """From here on this process cannot unpickle."""

    def end(*_: object, **__: object) -> NoReturn:
        os.write(2, b"UNPICKLED something\n")
        os._exit(UNPICKLED)

    for name in ("load", "loads", "_load", "_loads"):
        setattr(pickle, name, end)
    sys.addaudithook(lambda event, _: end() if event == "pickle.find_class" else None)


def worker(name: str) -> int:
    """A worker whose agent cannot unpickle."""
    from headrace.worker import service
    from headrace.worker.settings import Settings

    fork = service.start_zygote

    def fork_then_forbid(*given: Any) -> Any:
        zygote = fork(*given)
        forbid()
        return zygote

    service.start_zygote = fork_then_forbid
    return service.main(Settings(host=name, runners=1, capacity_bytes=64 << 20, lease_seconds=LEASE_SECONDS), BusSettings.from_env())


def central(name: str) -> int:
    """A central service that cannot unpickle."""
    module: Any = importlib.import_module(f"headrace.{name}.service")
    forbid()
    return run_service(lambda: module.run(module.Settings.from_env(), BusSettings.from_env()))


if __name__ == "__main__":
    parent_death_signal(os.getppid())
    sys.exit(worker(sys.argv[2]) if sys.argv[1] == "worker" else central(sys.argv[1]))
