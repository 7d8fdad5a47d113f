"""The worker service: it joins the cluster as a host, and rejoins after it has lost its lease."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec

from headrace.bus import Bus, BusSettings, run_service
from headrace.errors import LogRewound, NatsUnreachable
from headrace.logs import get_log, set_up_logging
from headrace.runner.status import StatusPage
from headrace.telemetry import Family
from headrace.variables import shm_folder
from headrace.worker.addresses import is_wildcard, outgoing_ip
from headrace.worker.agent.guard import MachineBroken
from headrace.worker.membership import next_epoch
from headrace.worker.settings import Settings
from headrace.worker.threads import set_variables
from headrace.worker.worker import Worker
from headrace.worker.zygote import Zygote, start_zygote
from headrace_shm import Arena

log = get_log(__name__)


class Host:
    """The service of one host.

    The host loses its lease when its process, its machine or the NATS server stands still for longer than the lease runs. Other hosts then
    take over its tasks. So it ends its runners and links, and rejoins under a new epoch. It keeps its datasets, and lists them before it
    rejoins. arena, status, zygote: its shared memory, the status page of its runners, and its fork server.
    """

    def __init__(self, settings: Settings, bus: Bus, arena: Arena, status: StatusPage, zygote: Zygote) -> None:
        self._settings = settings
        self._bus = bus
        self._parts = arena, status, zygote
        self._worker: Worker | None = None

    async def run(self) -> None:
        """Serve until cancelled.

        Raises HostTaken if another worker has the host's name, and RunnersFailed if no runner can be kept alive.
        """
        await self._bus.ensure_streams()
        await self._bus.ensure_buckets()
        self._bus.wait_for_room()
        endpoints = {f"status-{self._settings.host}": self._status}
        await self._bus.serve("headrace-worker", f"host {self._settings.host}", endpoints, self._metrics)
        try:
            await self._serve()
        finally:
            await self._discard_worker()
            self._parts[2].close()

    async def _discard_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.close()

    async def _serve(self) -> None:
        epoch = 0
        while True:
            try:
                epoch = await next_epoch(self._bus, self._settings.host, epoch)
                if self._worker is None:
                    self._worker = Worker(self._settings, self._bus, *self._parts, epoch)
                else:
                    self._worker.rejoin(epoch)
                await self._worker.run()
                log.warning("this host lost its lease, and rejoins under a new epoch", epoch=epoch)
            except NatsUnreachable as error:
                log.warning("NATS does not answer; this host will try to join again", epoch=epoch, error=error)
                await asyncio.sleep(self._settings.rejoin_seconds)
            except LogRewound as error:
                log.error("the log went back; this host rejoins with its datasets of jobs that are in the log", epoch=epoch, error=error)
                assert self._worker is not None
                await self._worker.log_rewound()
            except MachineBroken as error:
                log.error(
                    "the state machine of this host fails on every event; it starts again without its datasets", epoch=epoch, error=error
                )
                await self._discard_worker()
            if self._worker is not None:
                self._worker.keep_facts()
            self._bus.give_up()

    async def _status(self, request: bytes) -> bytes:
        return b"{}" if self._worker is None else await self._worker.status(request)

    def _metrics(self) -> Iterator[Family]:
        return iter(()) if self._worker is None else self._worker.metrics()


def main(settings: Settings, bus_settings: BusSettings) -> int:
    """Run a worker until SIGTERM or SIGINT, and return the exit code. Call it in a process with one thread and no event loop.

    Raises SettingsError for settings that cannot be used.
    """
    settings.check()
    settings = settings.with_env()
    set_variables(settings.runners)
    if is_wildcard(settings.listen) and not settings.advertise:
        settings = msgspec.structs.replace(settings, advertise=outgoing_ip(bus_settings.url))
    arena = Arena.create(settings.resolved_capacity_bytes() * settings.address_space_factor, shm_folder(settings.shm_dir))
    status = StatusPage(settings.runners)
    about = {"service": "worker", "host": settings.host}
    set_up_logging(lambda: about)  # before the fork server starts, whose runners inherit it
    if shortage := settings.shm_shortage():
        log.warning(shortage)
    zygote = start_zygote(arena, status, settings.host)

    async def serve() -> None:
        bus = await Bus.connect(bus_settings, f"worker-{settings.host}")
        try:
            await Host(settings, bus, arena, status, zygote).run()
        finally:
            await bus.close()

    try:
        return run_service(serve, **about)
    finally:
        arena.close()
