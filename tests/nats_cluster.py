"""Three nats-server processes on loopback that are one cluster, each of which a test may kill and start again."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from headrace.bus import BusSettings, parent_death_signal
from headrace.bus.server import server_binary
from tests.waiting import eventually

SIZE = 3


class NatsCluster:
    """Made of `SIZE` servers in a folder, named n0, n1 and n2. settings: how to connect to them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._token = secrets.token_hex(8)
        self._clients, self._routes, self._monitors = (_free_ports() for _ in range(3))
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * SIZE
        urls = ",".join(f"nats://127.0.0.1:{port}" for port in self._clients)
        self.settings = BusSettings(url=urls, token=self._token, replicas=SIZE, connect_seconds=60.0)

    def __enter__(self) -> Self:
        for number in range(SIZE):
            self.start(number)
        eventually(lambda: self.meta_leader() is not None, told=self.logs)
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for number in range(SIZE):
                stack.callback(self.kill, number)

    def start(self, number: int) -> None:
        """Start a server, on the store that it had."""
        parent = os.getpid()
        self._processes[number] = subprocess.Popen(
            [server_binary(), "-c", str(self._config(number))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: parent_death_signal(parent),
        )

    def kill(self, number: int) -> None:
        """End a server with SIGKILL."""
        process, self._processes[number] = self._processes[number], None
        if process is not None:
            process.kill()
            process.wait()

    def meta_leader(self) -> int | None:
        """The server that leads the cluster, as the ones that run say; None if none does."""
        for number, process in enumerate(self._processes):
            if process is not None and (leader := self._jsz(number).get("meta_cluster", {}).get("leader")):
                return int(leader[1:])
        return None

    def leader_of(self, stream: str) -> int | None:
        """The server that leads a stream; None while none does."""
        for number, process in enumerate(self._processes):
            account = next(iter(self._jsz(number, "?streams=1&accounts=1").get("account_details", ())), {}) if process else {}
            for found in account.get("stream_detail", ()):
                if found["name"] == stream and (leader := found.get("cluster", {}).get("leader")) == f"n{number}":
                    return int(leader[1:])
        return None

    def is_current(self) -> bool:
        """Whether every server runs and has everything of every stream."""
        return all(self._is_healthy(number) for number in range(SIZE))

    def logs(self) -> str:
        """The end of each server's log."""
        return "\n".join((self._folder / f"n{number}.log").read_text()[-1000:] for number in range(SIZE))

    def _is_healthy(self, number: int) -> bool:
        return bool(self._get(number, "healthz").get("status") == "ok")

    def _jsz(self, number: int, query: str = "") -> dict[str, Any]:
        return self._get(number, f"jsz{query}")

    def _get(self, number: int, what: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._monitors[number]}/{what}", timeout=5) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError:  # it does not listen yet, or is not healthy
            return {}

    def _config(self, number: int) -> Path:
        path = self._folder / f"n{number}.conf"
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self._routes)
        path.write_text(
            f"server_name: n{number}\nhost: 127.0.0.1\nport: {self._clients[number]}\nhttp: 127.0.0.1:{self._monitors[number]}\n"
            f'authorization {{ token: "{self._token}" }}\nlog_file: "{self._folder / f"n{number}.log"}"\n'
            f'jetstream {{ store_dir: "{self._folder / f"n{number}"}", max_file_store: 1TB }}\n'
            f"cluster {{ name: test, listen: 127.0.0.1:{self._routes[number]}, routes: [{routes}] }}\n"
        )
        return path


def _free_ports() -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(SIZE)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]
