"""Flags that several commands have, and the settings made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from headrace.bus import BusSettings

Url = Annotated[
    str, typer.Option(envvar="HEADRACE_URL", help="Address of the NATS server, or several separated by commas.", show_default=False)
]
Token = Annotated[str, typer.Option(envvar="HEADRACE_TOKEN", help="Token to log in with.", show_default=False, show_envvar=True)]
User = Annotated[str, typer.Option(envvar="HEADRACE_USER", help="User to log in as.", show_default=False)]
Password = Annotated[str, typer.Option(envvar="HEADRACE_PASSWORD", help="The user's password.", show_default=False)]
Creds = Annotated[str, typer.Option(envvar="HEADRACE_CREDS", help="File with NATS credentials.", show_default=False)]
Hosts = Annotated[int, typer.Option(min=1, help="Worker services of a local cluster.")]
Runners = Annotated[int, typer.Option(min=1, envvar="HEADRACE_RUNNERS", help="Processes that execute tasks, per host.")]
Capacity = Annotated[
    int, typer.Option(min=0, envvar="HEADRACE_CAPACITY", help="Bytes of each host's store; 0: a share of the memory.", show_default=False)
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, as `headrace jobs` shows it.")]


def bus_settings(url: str, token: str = "", user: str = "", password: str = "", creds: str = "") -> BusSettings:
    """The bus's settings: from the flags that were given, the rest from the environment."""
    import msgspec

    from headrace.bus import BusSettings

    given = {"url": url, "token": token, "user": user, "password": password, "creds": creds}
    return msgspec.structs.replace(BusSettings.from_env(), **{name: value for name, value in given.items() if value})
