"""All commands in one app, and what becomes of errors: one line on standard error and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
import typer

from headrace.cli import commands, services
from headrace.errors import HeadraceError, TaskFailed

FAILED = 1
INTERRUPTED = 130
"""What a shell reports of a process that Ctrl-C ended."""

app = typer.Typer(
    name="headrace",
    help="Run graphs of Python functions over large arrays, across hosts, over NATS.",
    epilog="Settings come from flags, then from HEADRACE_* variables. Exit status: 0 done, 1 failed, 2 used wrongly, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})(commands.demo)
for command in (commands.up, commands.run, commands.jobs, commands.status, commands.cancel, commands.replay):
    app.command()(command)
for command in (services.controller, services.scheduler, services.worker, services.publisher):
    app.command(rich_help_panel="Services")(command)
app.command()(commands.version)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit status."""
    try:
        status = app(list(arguments), standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except TaskFailed as error:
        if error.remote_traceback:
            print(error.remote_traceback.rstrip(), file=sys.stderr)
        return fail(error)
    except HeadraceError as error:
        return fail(error)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED


def fail(error: HeadraceError) -> int:
    """Say what went wrong; returns the exit status."""
    print(f"headrace: {error}", file=sys.stderr)
    return FAILED
