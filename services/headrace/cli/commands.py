"""The commands that use a cluster: run graphs on it, look at its jobs, stop them."""

from __future__ import annotations

import os
import signal
import threading
from typing import Annotated

import typer

from headrace.cli.options import Capacity, Hosts, JobId, Login, Resources, Runners, logs_in

Target = Annotated[
    str, typer.Argument(metavar="FILE.py[:graph]", help="A Python file with an hr.Graph, or with a function that returns one.")
]


def headrace(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=lambda shown: _version_and_end(shown), is_eager=True)
    ] = False,
) -> None:
    """Run graphs of Python functions over large arrays, across hosts, over NATS."""


def _version_and_end(shown: bool) -> None:
    if shown:
        version()
        raise typer.Exit


def demo(context: typer.Context) -> int:
    """Run the ensemble example on a local cluster. Options are the example's own: see `headrace demo --help`."""
    from headrace.cli.finding import load_demo

    return int(load_demo().main(context.args))


def up(
    hosts: Hosts = 2,
    runners: Runners = 1,
    capacity: Capacity = 0,
    resources: Resources = "",
    log_file: Annotated[
        str, typer.Option(help="File for what the services log and tasks print; by default it ends with the cluster.", show_default=False)
    ] = "",
) -> int:
    """Run a local cluster until Ctrl-C, and print how to connect to it. Its tasks can import modules of the working directory."""
    from headrace.cli.finding import import_from
    from headrace.cli.tables import counted
    from headrace.client.cluster import Cluster
    from headrace.graph.resources import parse_resources

    import_from(os.getcwd())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with Cluster.local(hosts, runners, capacity or None, log_file=log_file or None, resources=parse_resources(resources)) as cluster:
        typer.echo(f"export HEADRACE_URL={cluster.url}\nexport HEADRACE_TOKEN={cluster.token}")
        typer.echo(f"# {counted(hosts, 'host')} of {counted(runners, 'runner')} each; Ctrl-C ends them", err=True)
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
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the results; 0: for ever.")] = 0.0,
    sink: Annotated[
        str, typer.Option(metavar="PATH", help="Where to write the outputs, as files: a folder, or a path with {name}.", show_default=False)
    ] = "",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the outputs on the cluster, for `headrace get`, until they expire; not of a local one.")
    ] = False,
    *,
    login: Login,
) -> int:
    """Run a graph, on the cluster at HEADRACE_URL or else on a local one, and print its outputs.

    Modules beside the file can be imported by it, and by its tasks on a local cluster.
    """
    import time

    from headrace.cli.finding import load_graph
    from headrace.cli.tables import counted, print_outputs, print_records
    from headrace.client.cluster import Cluster, abandon
    from headrace.graph.resources import parse_resources

    connected = bool(login.url)
    if keep and not connected:
        raise typer.BadParameter("--keep needs a cluster that goes on: start one with `headrace up`, and set HEADRACE_URL; or use --sink")
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
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="A job's id; without one, the whole cluster.")] = None,
    *,
    login: Login,
) -> int:
    """Show how a job stands, or the cluster."""
    from headrace.cli.tables import print_cluster, print_status

    with login.connect() as cluster:
        print_cluster(cluster.status()) if job is None else print_status(cluster.job(job).status())
    return 0


@logs_in
def outputs(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB] [KEY=VALUE]...", help="A job's id; and metadata that outputs must have, like step=0 or step=[0,6]."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
    *,
    login: Login,
) -> int:
    """List the outputs that were announced, of one job or of all, also of those that the log has forgotten."""
    from headrace.cli.outputs import show_outputs

    with login.connect() as cluster:
        return show_outputs(cluster, words or [], as_json=as_json)


@logs_in
def get(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="JOB/NAME, as `headrace outputs` shows both; or NAME with --job.")],
    target: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="The file, whose ending says what it becomes; or a folder.")
    ] = ".",
    job: Annotated[str, typer.Option("--job", metavar="JOB", help="The job's id, if OUTPUT is the name alone.")] = "",
    no_clobber: Annotated[bool, typer.Option("-n", "--no-clobber", help="Do not replace a file that exists.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the output; 0: for ever.")] = 0.0,
    *,
    login: Login,
) -> int:
    """Write an output into a file: what its sink has, or its value, as .npy for an array, or as the file's ending says.

    Like cp, it replaces a file that exists, and says so.
    """
    from headrace.cli.outputs import get_output

    with login.connect() as cluster:
        return get_output(cluster, output, job, target, timeout or None, clobber=not no_clobber)


@logs_in
def cancel(
    job: JobId,
    reason: Annotated[str, typer.Option(help="Shown to whoever waits for the job.")] = "",
    *,
    login: Login,
) -> int:
    """Stop a job."""
    with login.connect() as cluster:
        held = cluster.job(job)
        asked = held.cancel(reason)
        typer.echo(f"{job}: {held.wait(check=False)}" if asked else f"{job} was over already: {held.status().state}")
    return 0


@logs_in
def replay(
    job: JobId,
    check: Annotated[
        bool, typer.Option("--check", help="Make every controller decision again and compare; status 1 if one differs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
    *,
    login: Login,
) -> int:
    """Print a job's timeline and final state from the log."""
    from headrace.cli.replaying import replay_job

    return replay_job(job, login.settings(), checked=check, as_json=as_json)


@logs_in
def tail(
    job: Annotated[str, typer.Argument(metavar="[JOB]", help="One job, from its beginning; without: all jobs, from now on.")] = "",
    no_follow: Annotated[bool, typer.Option("--no-follow", help="Print what is in the log, and end.")] = False,
    *,
    login: Login,
) -> int:
    """Print the log in words, as it is written; of one job until it is over."""
    from headrace.cli.tailing import tail_log

    tail_log(job, login.settings(), follow=not no_follow)
    return 0


@logs_in
def watch(job: JobId, *, login: Login) -> int:
    """Watch a job: how far it is, how fast, on which hosts, and what failed. Status 1 if it did not end well."""
    from headrace.cli.watching import watch_job

    return watch_job(job, login.settings())


def version() -> int:
    """Print the version."""
    from importlib.metadata import version as installed

    typer.echo(f"headrace {installed('headrace')}")
    return 0
