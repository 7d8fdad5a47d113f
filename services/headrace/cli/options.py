"""Flags that several commands have, and the settings made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headrace.sizes import parse_capacity

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


def _capacity(text: str | int) -> int:
    try:
        return parse_capacity(str(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Capacity = Annotated[
    int,
    typer.Option(
        parser=_capacity,
        metavar="SIZE",
        envvar="HEADRACE_CAPACITY",
        help="Bytes of each host's store, like 500M, 4G or 4Gi; 0: a share of the memory.",
        show_default=False,
    ),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, as `headrace jobs` shows it.")]


def bus_settings(url: str, token: str = "", user: str = "", password: str = "", creds: str = "") -> BusSettings:
    """The bus's settings: from the flags that were given, the rest from the environment.

    Raises typer.BadParameter for a variable that cannot be used, NatsUnreachable for an address that is none.
    """
    import msgspec

    from headrace.bus import BusSettings
    from headrace.client.connection import check_urls

    given = {"url": url, "token": token, "user": user, "password": password, "creds": creds}
    try:
        settings = BusSettings.from_env()
    except msgspec.ValidationError as error:
        raise typer.BadParameter(f"a HEADRACE_* variable cannot be used: {error}") from None
    settings = msgspec.structs.replace(settings, **{name: value for name, value in given.items() if value})
    check_urls(settings.url)
    return settings
