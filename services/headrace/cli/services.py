"""The commands that run one service each, in the foreground, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer

from headrace.cli.options import Capacity, Login, Resources, Runners, logs_in


@logs_in
def controller(*, login: Login) -> int:
    """Run a controller, which decides on the start, recovery and end of jobs.

    Also reads HEADRACE_OUTPUT_EXPIRY, _HOST_GRACE, _NO_HOSTS_GRACE, _HOST_DEATHS, _LEADER_LEASE, _SINKS, _METRICS, _LOG_LEVEL.
    """
    return _serve("controller", login)


@logs_in
def scheduler(*, login: Login) -> int:
    """Run a scheduler, which plans jobs.

    Also reads HEADRACE_WINDOW_TASKS, _OPEN_JOBS, _OPEN_TASKS_PER_RUNNER, _LEADER_LEASE, _METRICS, _LOG_LEVEL.
    """
    return _serve("scheduler", login)


@logs_in
def publisher(*, login: Login) -> int:
    """Run a publisher, which announces outputs. Also reads HEADRACE_SINKS, _LEADER_LEASE, _METRICS, _LOG_LEVEL."""
    return _serve("publisher", login)


@logs_in
def worker(
    host: Annotated[
        str,
        typer.Option(
            envvar="HEADRACE_HOST", help="Name of the host in the cluster; by default the name of the machine.", show_default=False
        ),
    ] = "",
    runners: Runners = 1,
    capacity: Capacity = 0,
    resources: Resources = "",
    shm_dir: Annotated[str, typer.Option(envvar="HEADRACE_SHM_DIR", help="Folder in shared memory.", show_default=False)] = "",
    spill_dir: Annotated[
        str,
        typer.Option(
            envvar="HEADRACE_SPILL_DIR",
            help="Folder on disk for data that does not fit into memory. By default the temporary folder; none: keep all data in memory.",
            show_default=False,
        ),
    ] = "",
    listen: Annotated[
        str, typer.Option(envvar="HEADRACE_LISTEN", help="IP:PORT to serve data to other hosts and clients; port 0: any free port.")
    ] = "127.0.0.1:0",
    advertise: Annotated[
        str,
        typer.Option(
            envvar="HEADRACE_ADVERTISE", help="Address that other hosts and clients connect to, if it differs.", show_default=False
        ),
    ] = "",
    *,
    login: Login,
) -> int:
    """Run a worker: one host's agent and its runners.

    Also reads HEADRACE_RUNNER_THREADS, _HOST_LEASE, _RECORD, _SINKS, _METRICS, _LOG_LEVEL.
    """
    from headrace.worker.threads import set_variables

    set_variables(runners)  # before numpy is loaded

    from headrace.graph.resources import parse_resources
    from headrace.worker.service import main
    from headrace.worker.settings import Settings, host_name

    settings = Settings(
        host=host or host_name(),
        runners=runners,
        capacity_bytes=capacity,
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
