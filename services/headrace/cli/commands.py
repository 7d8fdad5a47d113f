"""The commands that use a cluster: run graphs on it, look at its jobs, stop them."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.options import Capacity, Creds, Hosts, JobId, Password, Runners, Token, Url, User, bus_settings

if TYPE_CHECKING:
    from headrace.client.cluster import Cluster

Target = Annotated[
    str, typer.Argument(metavar="FILE.py[:graph]", help="A Python file with an hr.Graph, or with a function that returns one.")
]


def demo(context: typer.Context) -> int:
    """Run the ensemble example on a local cluster. Options are the example's own: see `headrace demo --help`."""
    from headrace.cli.finding import load_demo

    return int(load_demo().main(context.args))


def up(hosts: Hosts = 2, runners: Runners = 1, capacity: Capacity = 0) -> int:
    """Run a local cluster until Ctrl-C, and print how to connect to it."""
    from headrace.cli.tables import counted
    from headrace.client.cluster import Cluster

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with Cluster.local(hosts, runners, capacity or None) as cluster:
        typer.echo(f"export HEADRACE_URL={cluster.url}\nexport HEADRACE_TOKEN={cluster.token}")
        typer.echo(f"# {counted(hosts, 'host')} of {counted(runners, 'runner')} each; Ctrl-C ends them", err=True)
        cluster.wait(stop)
    return 0


def run(
    target: Target,
    hosts: Hosts = 2,
    runners: Runners = 1,
    capacity: Capacity = 0,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the results; 0: for ever.")] = 0.0,
    url: Url = "",
    token: Token = "",
    user: User = "",
    password: Password = "",
    creds: Creds = "",
) -> int:
    """Run a graph, on the cluster at HEADRACE_URL or else on a local one, and print its outputs."""
    import time

    from headrace.cli.finding import load_graph
    from headrace.cli.tables import counted, print_outputs
    from headrace.client.cluster import Cluster

    graph = load_graph(target)
    connected = bool(url)
    cluster = _connect(url, token, user, password, creds) if connected else Cluster.local(hosts, runners, capacity or None)
    with cluster:
        start = time.perf_counter()
        job = cluster.submit(graph)
        try:
            results = job.results(timeout or None)
        except BaseException:
            job.cancel("its client stopped waiting for it")
            raise
        print_outputs(results, f"{graph.name}: {counted(len(graph), 'task')} in {time.perf_counter() - start:.3f} s")
    return 0


def jobs(url: Url = "", token: Token = "", user: User = "", password: Password = "", creds: Creds = "") -> int:
    """List the cluster's jobs, oldest first."""
    from headrace.cli.tables import print_jobs

    with _connect(url, token, user, password, creds) as cluster:
        print_jobs(cluster.jobs())
    return 0


def status(job: JobId, url: Url = "", token: Token = "", user: User = "", password: Password = "", creds: Creds = "") -> int:
    """Show how a job stands."""
    from headrace.cli.tables import print_status

    with _connect(url, token, user, password, creds) as cluster:
        print_status(cluster.job(job).status())
    return 0


def outputs(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB] [KEY=VALUE]...", help="A job's id; and metadata that outputs must have, like step=0 or step=[0,6]."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
    url: Url = "",
    token: Token = "",
    user: User = "",
    password: Password = "",
    creds: Creds = "",
) -> int:
    """List the outputs that were announced, of one job or of all, also of those that the log has forgotten."""
    from headrace.cli.outputs import show_outputs

    with _connect(url, token, user, password, creds) as cluster:
        return show_outputs(cluster, words or [], as_json=as_json)


def get(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="JOB/NAME, as `headrace outputs` shows both; or NAME with --job.")],
    target: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="The file, whose ending says what it becomes; or a folder.")
    ] = ".",
    job: Annotated[str, typer.Option("--job", metavar="JOB", help="The job's id, if OUTPUT is the name alone.")] = "",
    no_clobber: Annotated[bool, typer.Option("-n", "--no-clobber", help="Do not replace a file that exists.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the output; 0: for ever.")] = 0.0,
    url: Url = "",
    token: Token = "",
    user: User = "",
    password: Password = "",
    creds: Creds = "",
) -> int:
    """Write an output into a file: what its sink has, or its value, as .npy for an array, or as the file's ending says.

    Like cp, it replaces a file that exists, and says so.
    """
    from headrace.cli.outputs import get_output

    with _connect(url, token, user, password, creds) as cluster:
        return get_output(cluster, output, job, target, timeout or None, clobber=not no_clobber)


def cancel(
    job: JobId,
    reason: Annotated[str, typer.Option(help="Shown to whoever waits for the job.")] = "",
    url: Url = "",
    token: Token = "",
    user: User = "",
    password: Password = "",
    creds: Creds = "",
) -> int:
    """Stop a job."""
    with _connect(url, token, user, password, creds) as cluster:
        held = cluster.job(job)
        if not held.done:
            held.cancel(reason)
        typer.echo(f"{job}: {held.wait()}")
    return 0


def replay(
    job: JobId,
    check: Annotated[
        bool, typer.Option("--check", help="Make every controller decision again and compare; status 1 if one differs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
    url: Url = "",
    token: Token = "",
    user: User = "",
    password: Password = "",
    creds: Creds = "",
) -> int:
    """Print a job's timeline and final state from the log."""
    from headrace.cli.replaying import replay_job

    return replay_job(job, bus_settings(url, token, user, password, creds), checked=check, as_json=as_json)


def tail(
    job: Annotated[str, typer.Argument(metavar="[JOB]", help="One job, from its beginning; without: all jobs, from now on.")] = "",
    no_follow: Annotated[bool, typer.Option("--no-follow", help="Print what is in the log, and end.")] = False,
    url: Url = "",
    token: Token = "",
    user: User = "",
    password: Password = "",
    creds: Creds = "",
) -> int:
    """Print the log in words, as it is written; of one job until it is over."""
    from headrace.cli.tailing import tail_log

    tail_log(job, bus_settings(url, token, user, password, creds), follow=not no_follow)
    return 0


def watch(job: JobId, url: Url = "", token: Token = "", user: User = "", password: Password = "", creds: Creds = "") -> int:
    """Watch a job: how far it is, how fast, on which hosts, and what failed. Status 1 if it did not end well."""
    from headrace.cli.watching import watch_job

    return watch_job(job, bus_settings(url, token, user, password, creds))


def version() -> int:
    """Print the version."""
    from importlib.metadata import version as installed

    typer.echo(f"headrace {installed('headrace')}")
    return 0


def _connect(url: str, token: str, user: str, password: str, creds: str) -> Cluster:
    from headrace.client.cluster import Cluster

    bus_settings(url, token, user, password, creds)  # so that what is wrong with them is told as a wrong use
    return Cluster.connect(url, token=token, user=user, password=password, creds=creds)
