"""The commands that use a cluster: run graphs, show jobs, cancel jobs."""

from __future__ import annotations

import os
import signal
import threading
from typing import Annotated

import typer

from headrace.cli.options import Capacity, Hosts, JobId, Login, Resources, Runners, logs_in

Target = Annotated[
    str, typer.Argument(metavar="FILE.py[:graph]", help="A Python file that has an hr.Graph, or a function that returns one.")
]


def headrace(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=lambda shown: _version_and_end(shown), is_eager=True)
    ] = False,
) -> None:
    """Run graphs of Python functions over large arrays on several hosts."""


def _version_and_end(shown: bool) -> None:
    if shown:
        version()
        raise typer.Exit


def demo(context: typer.Context) -> int:
    """Run the ensemble example on a local cluster. It has its own options: see `headrace demo --help`."""
    from headrace.cli.finding import load_demo

    return int(load_demo().main(context.args))


def up(
    hosts: Hosts = 2,
    runners: Runners = 1,
    capacity: Capacity = 0,
    resources: Resources = "",
    log_file: Annotated[
        str, typer.Option(help="File for the services' log and the output of tasks. By default a temporary file.", show_default=False)
    ] = "",
) -> int:
    """Run a local cluster until Ctrl-C, and print how to connect to it. Its tasks can import modules from the working directory."""
    from headrace.cli.finding import import_from
    from headrace.cli.tables import counted
    from headrace.client.cluster import Cluster
    from headrace.graph.resources import parse_resources

    import_from(os.getcwd())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with Cluster.local(hosts, runners, capacity or None, log_file=log_file or None, resources=parse_resources(resources)) as cluster:
        typer.echo(f"export HEADRACE_URL={cluster.url}\nexport HEADRACE_TOKEN={cluster.token}")
        typer.echo(f"# {counted(hosts, 'host')} of {counted(runners, 'runner')} each; press Ctrl-C to end them", err=True)
        for name, address in cluster.metrics_addresses().items() if os.environ.get("HEADRACE_METRICS") else ():
            typer.echo(f"# metrics of {name}: http://{address}/metrics", err=True)
        cluster.wait(stop)
    return 0


@logs_in
def run(
    target: Target,
    hosts: Hosts = 2,
    runners: Runners = 1,
    capacity: Capacity = 0,
    resources: Resources = "",
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the results; 0: without limit.")] = 0.0,
    sink: Annotated[
        str, typer.Option(metavar="PATH", help="Write the outputs to files: a folder, or a path with {name}.", show_default=False)
    ] = "",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the outputs on the cluster for `headrace get`, until they expire. Not for a local cluster.")
    ] = False,
    *,
    login: Login,
) -> int:
    """Run a graph on the cluster at HEADRACE_URL, or on a local cluster if it is not set, and print its outputs.

    The file, and its tasks on a local cluster, can import modules from the file's folder.
    """
    import time

    from headrace.cli.finding import load_graph
    from headrace.cli.tables import counted, print_outputs, print_records
    from headrace.client.cluster import Cluster, abandon
    from headrace.graph.resources import parse_resources

    connected = bool(login.url)
    if keep and not connected:
        raise typer.BadParameter(
            "--keep needs a cluster that keeps running: start one with `headrace up` and set HEADRACE_URL, or use --sink"
        )
    graph = load_graph(target)
    cluster = login.connect() if connected else Cluster.local(hosts, runners, capacity or None, resources=parse_resources(resources))
    with cluster:
        start = time.perf_counter()
        job = cluster.submit(graph, sink=sink or None)
        try:
            results = job.results(timeout or None, keep=keep) if not sink else {}
            job.wait(timeout or None)
        except BaseException:
            abandon(job)
            raise
        title = f"{graph.name}: {counted(len(graph), 'task')} in {time.perf_counter() - start:.3f} s"
        if sink:
            print_records(job.outputs(), title)
        else:
            print_outputs(results, title)
        if keep:
            typer.echo(f"# kept: headrace get {job.id}/NAME", err=True)
    return 0


@logs_in
def jobs(*, login: Login) -> int:
    """List the cluster's jobs, oldest first."""
    from headrace.cli.tables import print_jobs

    with login.connect() as cluster:
        print_jobs(cluster.jobs())
    return 0


@logs_in
def status(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="A job's id. Without it, shows the cluster.")] = None,
    *,
    login: Login,
) -> int:
    """Show the state of a job, or of the cluster."""
    from headrace.cli.tables import print_cluster, print_status

    with login.connect() as cluster:
        print_cluster(cluster.status()) if job is None else print_status(cluster.job(job).status())
    return 0


@logs_in
def outputs(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB] [KEY=VALUE]...", help="A job's id, and metadata that outputs must have, like step=0 or step=[0,6]."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")] = False,
    *,
    login: Login,
) -> int:
    """List announced outputs of one job or of all jobs, including jobs that are no longer in the log."""
    from headrace.cli.outputs import show_outputs

    with login.connect() as cluster:
        return show_outputs(cluster, words or [], as_json=as_json)


@logs_in
def get(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="JOB/NAME, as `headrace outputs` shows them, or NAME with --job.")],
    target: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="The file, whose extension selects the format, or a folder.")
    ] = ".",
    job: Annotated[str, typer.Option("--job", metavar="JOB", help="The job's id, if OUTPUT is only a name.")] = "",
    no_clobber: Annotated[bool, typer.Option("-n", "--no-clobber", help="Do not replace an existing file.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the output; 0: without limit.")] = 0.0,
    *,
    login: Login,
) -> int:
    """Write an output to a file: a copy of its sink's file, or its value in the format of the file's extension (arrays: .npy by default).

    Like cp, this replaces an existing file; it says so.
    """
    from headrace.cli.outputs import get_output

    with login.connect() as cluster:
        return get_output(cluster, output, job, target, timeout or None, clobber=not no_clobber)


@logs_in
def cancel(
    job: JobId,
    reason: Annotated[str, typer.Option(help="The reason, shown to those who wait for the job.")] = "",
    *,
    login: Login,
) -> int:
    """Stop a job."""
    with login.connect() as cluster:
        held = cluster.job(job)
        asked = held.cancel(reason)
        typer.echo(f"{job}: {held.wait(check=False)}" if asked else f"{job} had already ended: {held.status().state}")
    return 0


@logs_in
def replay(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="The job's id, as `headrace jobs` shows it.")] = None,
    record: Annotated[
        str | None,
        typer.Option(
            "--record",
            metavar="FILE",
            help="Instead of a job: tell a host's state machine again what a record contains (see HEADRACE_RECORD), and compare its "
            "decisions; exit status 1 if one differs.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Recompute and compare every decision of the controller; exit status 1 if one differs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")] = False,
    *,
    login: Login,
) -> int:
    """Print a job's timeline and final state from the log, or run the record of a host again."""
    if (job is None) == (record is None):
        raise typer.BadParameter("give a JOB, or --record FILE")
    if record is not None:
        from headrace.cli.records import replay_record

        return replay_record(record)
    from headrace.cli.replaying import replay_job

    return replay_job(job or "", login.settings(), checked=check, as_json=as_json)


@logs_in
def tail(
    job: Annotated[str, typer.Argument(metavar="[JOB]", help="A job to follow from its beginning. Without it, all jobs from now on.")] = "",
    no_follow: Annotated[bool, typer.Option("--no-follow", help="Print the log so far, and exit.")] = False,
    *,
    login: Login,
) -> int:
    """Print the log in words while services write it. For one job, stop when the job ends."""
    from headrace.cli.tailing import tail_log

    tail_log(job, login.settings(), follow=not no_follow)
    return 0


@logs_in
def watch(job: JobId, *, login: Login) -> int:
    """Watch a job live: progress, speed, hosts, failures. Exit status 1 unless the job is done."""
    from headrace.cli.watching import watch_job

    return watch_job(job, login.settings())


def version() -> int:
    """Print the version."""
    from importlib.metadata import version as installed

    typer.echo(f"headrace {installed('headrace')}")
    return 0
