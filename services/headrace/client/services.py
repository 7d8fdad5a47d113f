"""The main functions of a local cluster's services, imported before the supervisor forks them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace.bus import BusSettings, run_service
from headrace.client.orders import Orders

CENTRAL = ("controller", "scheduler", "publisher")


def central_main(service: str, bus: BusSettings) -> Callable[[], int]:
    """The controller, the scheduler or the publisher."""
    module: Any = importlib.import_module(f"headrace.{service}.service")
    return lambda: run_service(lambda: module.run(module.Settings.from_env(), bus))
