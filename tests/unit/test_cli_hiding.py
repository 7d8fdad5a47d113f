"""Secrets of the command line are hidden from `ps`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headrace.cli.hiding import mask


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["headrace", "jobs", "--token", "secret"], ["headrace", "jobs", "--token", "******"]),
        (["headrace", "--token=secret", "jobs"], ["headrace", "--token=******", "jobs"]),
        (["headrace", "--password", "--token", "jobs"], ["headrace", "--password", "*******", "jobs"]),
        (["headrace", "--token=", "jobs"], ["headrace", "--token=", "jobs"]),
        (["headrace", "jobs", "--token"], ["headrace", "jobs", "--token"]),
        (["headrace", "get", "token", "secret"], ["headrace", "get", "token", "secret"]),
    ],
)
def test_secrets_are_masked(given: list[str], shown: list[str]) -> None:
    masked = mask(b"".join(argument.encode() + b"\0" for argument in given))
    assert masked == b"".join(argument.encode() + b"\0" for argument in shown)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_hides_its_own() -> None:
    code = "import sys; from headrace.cli.hiding import hide_secrets; hide_secrets(sys.argv[1:]); print(sys.argv[2], flush=True); input()"
    command = [sys.executable, "-c", code, "--token", "very-secret", "jobs"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "very-secret\n"  # the process itself has it
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.communicate("\n")
    assert shown.endswith(b"--token\0***********\0jobs\0")
