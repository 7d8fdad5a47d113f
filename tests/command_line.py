"""Commands in the process of the tests: to start a process takes longer than most commands do."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

import pytest

from headrace.cli.app import run


def said(
    *arguments: str, env: Mapping[str, str], cwd: Path | None = None, stdout: TextIO | None = None
) -> subprocess.CompletedProcess[str]:
    """What `headrace` does with these arguments and variables; those of the tests' own environment do not count. test_cli.py starts every
    command as a shell does. stdout: where it prints to, if that is not to be told."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(stdout or out), redirect_stderr(err):
        for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
            patched.delenv(name)
        for name, value in env.items():
            patched.setenv(name, value)
        if cwd is not None:
            patched.chdir(cwd)
        status = run(arguments)
    printed = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(arguments, status, *printed)
