"""A Docker Engine for the test: the one that there is, or else one started for it, which needs root; and the images built with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

BASE = "python:3.11-slim"
BASE_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
START_SECONDS, PULL_SECONDS = 20.0, 60.0


class Unavailable(Exception):
    """What the test needs is not on this machine; the message says what."""


def run(*command: str, seconds: float = 300.0, env: dict[str, str] | None = None) -> str:
    """What the command printed. Raises AssertionError with all of it if it failed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env={**os.environ, **(env or {})})
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def works(*command: str, seconds: float = 20.0) -> bool:
    """Whether the command is there and succeeds."""
    try:
        return subprocess.run(command, capture_output=True, timeout=seconds).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@contextlib.contextmanager
def engine(folder: Path) -> Iterator[None]:
    """DOCKER_HOST is an engine's for so long. Raises Unavailable."""
    if not shutil.which("docker"):
        raise Unavailable("there is no docker command: apt-get install docker.io docker-compose")
    if works("docker", "info"):
        yield
        return
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        raise Unavailable("no Docker Engine answers, and none can be started without root and dockerd")
    # A unix socket's path is short.
    address = f"unix:///run/headrace-test-{os.getpid()}.sock"
    command = ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "-H", address]
    with (folder / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    os.environ["DOCKER_HOST"] = address
    try:
        _await_daemon(daemon, folder / "dockerd.log")
        yield
    finally:
        del os.environ["DOCKER_HOST"]
        daemon.terminate()
        daemon.wait(START_SECONDS)
        works("umount", f"{folder}/exec/netns/default")  # which the daemon leaves mounted


def _await_daemon(daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not works("docker", "info"):
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise Unavailable(f"dockerd does not start here: {log.read_text()[-2000:]}")
        time.sleep(0.1)


def compose_command() -> list[str]:
    """`docker compose`, or its predecessor. Raises Unavailable."""
    if works("docker", "compose", "version"):
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise Unavailable("there is no docker compose: apt-get install docker-compose")


def pull(image: str) -> bool:
    """Whether the image is here, or could be had."""
    return works("docker", "image", "inspect", image) or works("docker", "pull", "--quiet", image, seconds=PULL_SECONDS)


def base_image(folder: Path) -> None:
    """The base of the services' image; made from Debian's packages where no registry can be reached. Raises Unavailable."""
    if pull(BASE):
        return
    if not shutil.which("mmdebstrap"):
        raise Unavailable(f"{BASE} cannot be pulled, and cannot be made without mmdebstrap")
    archive = folder / "base.tar"
    # With this machine's certificates, for it may reach the package index through a proxy of its own.
    copied = f"--customize-hook=copy-in {CERTIFICATES} {CERTIFICATES.parent}"
    run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={BASE_PACKAGES}", copied, "bookworm", str(archive), seconds=600)
    run("docker", "import", "-c", 'CMD ["python3"]', "-c", f"ENV PIP_CERT={CERTIFICATES}", str(archive), BASE)
    archive.unlink()


def build(checkout: Path, tag: str) -> None:
    """The services' image."""
    run("docker", "build", "--network=host", "-t", tag, str(checkout), seconds=900, env={"DOCKER_BUILDKIT": "0"})
