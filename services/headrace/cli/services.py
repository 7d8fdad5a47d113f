"""The commands that start one service each, in the foreground, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer

from headrace.cli.options import Capacity, Login, Resources, Runners, logs_in


@logs_in
def controller(*, login: Login) -> int:
    """Start a controller: the life of jobs. Reads HEADRACE_OUTPUT_EXPIRY, _METRICS and _LOG_LEVEL too."""
    return _serve("controller", login)


@logs_in
def scheduler(*, login: Login) -> int:
    """Start a scheduler: plans and windows. Reads HEADRACE_METRICS and _LOG_LEVEL too."""
    return _serve("scheduler", login)


@logs_in
def publisher(*, login: Login) -> int:
    """Start a publisher: announces outputs. Reads HEADRACE_METRICS and _LOG_LEVEL too."""
    return _serve("publisher", login)


@logs_in
def worker(
    host: Annotated[
        str, typer.Option(envvar="HEADRACE_HOST", help="Name of the host in the cluster; the machine's by default.", show_default=False)
    ] = "",
    runners: Runners = 1,
    capacity: Capacity = 0,
    resources: Resources = "",
    shm_dir: Annotated[str, typer.Option(envvar="HEADRACE_SHM_DIR", help="Folder of the shared memory.", show_default=False)] = "",
    spill_dir: Annotated[
        str,
        typer.Option(
            envvar="HEADRACE_SPILL_DIR",
            help="Folder on a disk for what memory has no room for, the temporary one by default; none: nothing is moved there.",
            show_default=False,
        ),
    ] = "",
    listen: Annotated[
        str, typer.Option(envvar="HEADRACE_LISTEN", help="IP:PORT for data of other hosts; port 0: a free one.")
    ] = "127.0.0.1:0",
    advertise: Annotated[
        str, typer.Option(envvar="HEADRACE_ADVERTISE", help="What other hosts connect to, if it is another address.", show_default=False)
    ] = "",
    *,
    login: Login,
) -> int:
    """Start a worker: one host's agent and its runners. Reads HEADRACE_RUNNER_THREADS, _METRICS and _LOG_LEVEL too."""
    from headrace.worker.threads import set_variables

    set_variables(runners)  # before numpy is loaded

    from headrace.graph.resources import parse_resources
    from headrace.worker.service import main
    from headrace.worker.settings import Settings, host_name

    settings = Settings(
        host=host or host_name(),
        runners=runners,
        capacity=capacity,
        resources=parse_resources(resources),
        shm_dir=shm_dir,
        spill_dir=spill_dir,
        listen=listen,
        advertise=advertise,
    )
    return main(settings, login.settings())


def _serve(service: str, login: Login) -> int:
    from headrace.bus import run_service

    module: Any = importlib.import_module(f"headrace.{service}.service")
    settings = module.Settings.from_env()
    bus = login.settings()
    return run_service(lambda: module.run(settings, bus), service=service)
