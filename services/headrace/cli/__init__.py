"""The command line: `headrace`. Exit status: 0 done, 1 failed, 2 used wrongly, 130 interrupted."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `headrace` command."""
    import sys

    from headrace.cli.hiding import hide_secrets

    hide_secrets(sys.argv[1:])  # before anything else: the imports below take a while

    from headrace.cli.app import run

    sys.exit(run(sys.argv[1:]))
