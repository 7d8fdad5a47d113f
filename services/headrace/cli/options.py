"""Flags that several commands share, and the settings that follow from them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from headrace.sizes import parse_capacity
from headrace.text import redacted

if TYPE_CHECKING:
    from headrace.bus import BusSettings
    from headrace.client.cluster import Cluster

Url = Annotated[
    str, typer.Option(envvar="HEADRACE_URL", help="Address of the NATS server, or several separated by commas.", show_default=False)
]
Token = Annotated[
    str,
    typer.Option(
        envvar="HEADRACE_TOKEN",
        help="Token to log in with. Other users may see flags in the process list: prefer the variable, or HEADRACE_TOKEN_FILE.",
        show_default=False,
        show_envvar=True,
    ),
]
User = Annotated[str, typer.Option(envvar="HEADRACE_USER", help="User to log in as.", show_default=False)]
Password = Annotated[
    str,
    typer.Option(
        envvar="HEADRACE_PASSWORD", help="The user's password. Prefer the variable, or HEADRACE_PASSWORD_FILE.", show_default=False
    ),
]
Creds = Annotated[str, typer.Option(envvar="HEADRACE_CREDS", help="File with NATS credentials.", show_default=False)]
Hosts = Annotated[int, typer.Option(min=1, help="Number of hosts (worker services) of a local cluster.")]
Runners = Annotated[int, typer.Option(min=1, envvar="HEADRACE_RUNNERS", help="Number of processes that run tasks, per host.")]


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
        help="Size of each host's store, like 500M, 4G or 4Gi; 0: a share of the host's memory.",
        show_default=False,
    ),
]
Resources = Annotated[
    str,
    typer.Option(
        metavar="NAME=AMOUNT,...",
        envvar="HEADRACE_RESOURCES",
        help="Resources of the host that tasks can ask for, like gpu=1,highmem=2.",
        show_default=False,
    ),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, as `headrace jobs` shows it.")]


class Login(NamedTuple):
    """The address of the NATS server and the credentials, from the flags of a command, or else from the environment."""

    url: str
    token: str
    user: str
    password: str
    creds: str

    def __repr__(self) -> str:
        return f"<Login at {redacted(self.url)!r}>"

    def settings(self) -> BusSettings:
        """Return the settings of the bus. Raises SettingsError for an invalid variable, NatsUnreachable for an invalid address."""
        import msgspec

        from headrace.bus import BusSettings
        from headrace.client.connection import check_urls

        settings = msgspec.structs.replace(BusSettings.from_env(), **{name: value for name, value in self._asdict().items() if value})
        check_urls(settings.url)
        return settings

    def connect(self) -> Cluster:
        """Connect to the cluster. Raises as `Cluster.connect`."""
        from headrace.client.cluster import Cluster

        return Cluster.connect(**self._asdict())


def logs_in(command: Callable[..., int]) -> Callable[..., int]:
    """Add the flags of `Login` to a command, and pass them as its argument `login`."""

    @functools.wraps(command)
    def logged_in(**given: Any) -> int:
        login = Login(*(given.pop(name) for name in Login._fields))
        return command(**given, login=login)

    own = [each for each in inspect.signature(command, eval_str=True).parameters.values() if each.name != "login"]
    flags = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default="", annotation=kind)
        for name, kind in zip(Login._fields, (Url, Token, User, Password, Creds), strict=True)
    ]
    logged_in.__signature__ = inspect.Signature([*own, *flags], return_annotation=int)  # type: ignore[attr-defined]
    return logged_in
