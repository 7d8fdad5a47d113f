"""The main functions of a local cluster's services, imported before the supervisor forks them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from headrace.client.orders import Orders
from headrace.telemetry.tracing import preload

CENTRAL = ("controller", "scheduler", "publisher")
WORKER = "worker"
Main = Callable[[], int]


def import_all() -> None:
    """Import everything that the services need, so that only forking remains to do."""
    for name in (*CENTRAL, WORKER):
        importlib.import_module(f"headrace.{name}.service")
    import uvloop  # noqa: F401

    preload()


def mains(orders: Orders, hosts: list[str], shm: Path, bus: Any) -> Iterator[tuple[str, Main]]:
    """Yield name and main function of every service of the cluster. shm: folder in shared memory. bus: the server's BusSettings."""
    bus = msgspec.structs.replace(bus, metrics=metrics_address(os.environ.get(bus.VARIABLES["metrics"], "")))
    for name in CENTRAL:
        yield name, _central(name, bus)
    for host in hosts:
        yield host, _worker(orders, host, shm, bus)


def metrics_address(given: str) -> str:
    """Return the address at which each of several processes on one machine answers Prometheus: the given address with a port of its own."""
    host, colon, _ = given.rpartition(":")
    return f"{host}:0" if colon else given


def _central(name: str, bus: Any) -> Main:
    from headrace.bus import run_service

    module: Any = importlib.import_module(f"headrace.{name}.service")
    return lambda: run_service(lambda: module.run(module.Settings.from_env(), bus), service=name)


def _worker(orders: Orders, host: str, shm: Path, bus: Any) -> Main:
    from headrace.worker.service import main
    from headrace.worker.settings import Settings

    spill = os.environ.get(Settings.VARIABLES["spill_dir"], "")
    settings = Settings(
        host=host, runners=orders.runners, capacity_bytes=orders.capacity, resources=orders.resources, shm_dir=str(shm), spill_dir=spill
    )
    share = settings.capacity_bytes or settings.resolved_capacity_bytes() // orders.hosts
    return lambda: main(msgspec.structs.replace(settings, capacity_bytes=share), bus)
