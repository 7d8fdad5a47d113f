"""The app with all commands. It prints an error as one line on standard error, and turns it into an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import typer

from headrace.cli import commands, services
from headrace.cli.output import checked_output
from headrace.cli.user_code import UserCodeFailed
from headrace.errors import HeadraceError, TaskFailed
from headrace.text import lines

FAILED = 1
USED_WRONGLY = 2
INTERRUPTED = 130
"""The exit status that a shell reports for a process that Ctrl-C ended."""

_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""The base class of all errors in arguments, in the click that this release of typer brings or uses."""

app = typer.Typer(
    name="headrace",
    help="Run graphs of Python functions over large arrays on several hosts.",
    epilog="Flags take precedence over HEADRACE_* variables. Exit status: 0 done, 1 failed, 2 used wrongly, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PLAIN: list[Callable[..., int]] = [commands.up, commands.run, commands.jobs, commands.status, commands.watch, commands.cancel]
_PLAIN += [commands.outputs, commands.get, commands.tail, commands.replay]
_SERVICES: list[Callable[..., int]] = [services.controller, services.scheduler, services.worker, services.publisher]

app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})(commands.demo)
app.callback()(commands.headrace)
for command in (*_PLAIN, *_SERVICES, commands.version):
    app.command()(command)


def run(arguments: Sequence[str]) -> int:
    """Run one command line, and return the exit status."""
    try:
        with checked_output():
            status = app(list(arguments), prog_name="headrace", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except _UsageError as error:
        error.show()  # type: ignore[attr-defined]
        return USED_WRONGLY
    except UserCodeFailed as error:
        print(error.trace.rstrip(), file=sys.stderr)
        return fail(error)
    except TaskFailed as error:
        if error.remote_traceback:
            print(lines(error.remote_traceback.rstrip()), file=sys.stderr)
        return fail(error)
    except HeadraceError as error:
        return fail(error)
    except OSError as error:
        if error.filename is None:  # otherwise the error names the user's file, like that of --log-file
            raise
        return fail(error)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED


def fail(error: Exception) -> int:
    """Print the error, and return the exit status."""
    print(f"headrace: {lines(str(error))}", file=sys.stderr)
    return FAILED
