"""The settings of a host, each with its unit and the reason for its default."""

from __future__ import annotations

import ipaddress
import math
import os
import socket
from pathlib import Path

import msgspec
import psutil

from headrace.errors import SettingsError
from headrace.link.addresses import split_address
from headrace.sinks.allowed import Allowed
from headrace.variables import shm_folder
from headrace.worker.addresses import advertised
from headrace_schemas import subjects

NO_SPILLING = "none"
"""As `spill_dir`: what memory has no room for is held above the capacity instead."""


class Settings(msgspec.Struct, kw_only=True):
    """What one worker service is told. `headrace worker` makes it from its flags and the HEADRACE_* variables."""

    host: str
    """Name in the cluster, a single token of a subject."""
    runners: int = 1
    """Processes that execute tasks."""
    capacity: int = 0
    """Bytes of the store; 0: half of the memory or half of what the shared-memory folder has free, whichever is less,
    so that the values that tasks hold on their own heaps have the other half."""
    resources: dict[str, float] = {}
    """What this host has for tasks that need it, e.g. {"gpu": 1}. A task that needs something runs only where that is."""
    shm_dir: str = ""
    """Folder of the arena, see `shm_folder`."""
    spill_dir: str = ""
    """Folder on a disk, for datasets that memory has no room for; empty: the temporary folder; "none": nothing is spilled."""
    listen: str = "127.0.0.1:0"
    """Address and port of the data plane; port 0 takes a free one."""
    advertise: str = ""
    """What other hosts and clients connect to, if it is not the address listened on: an address, or an address and a port. Where every
    address is listened on (0.0.0.0), the one that this machine has on its way to the NATS server."""
    lease_seconds: float = 5.0
    """A host that was silent for so long is lost: short enough to go on soon, long enough to survive a busy machine."""
    report_seconds: float = 0.001
    """What somebody waits for (outputs, failures, memory to be freed) waits so long to travel together, unless the host was quiet."""
    busy_report_seconds: float = 0.005
    """Outputs and failures wait so long while the host has more to do for their job, for then the job is not over: of 10,000 short tasks
    with an output each, a fifth of a service's CPU time goes into receiving messages where they wait only 1 ms."""
    quiet_report_seconds: float = 0.02
    """Facts wait so long that change what is known, and soon what happens next: there are many of them, memory could be freed for them,
    or this host has no work left."""
    idle_report_seconds: float = 0.1
    """All other facts wait so long: those of few, long tasks while more of them wait here. A message costs the services that fold it 2
    to 3 ms together where tasks fill the caches with their arrays. A progress bar moves as often."""
    queue_seconds: float = 0.01
    """Predicted work that a runner may have when it is given more: more than the way from agent to runner takes, little enough to share it
    out evenly, and for what is behind it to begin soon."""
    queue_segments: int = 512
    """Never more segments than this at a runner, however short."""
    part_chains: int = 256
    """Chains of an assignment that are taken in before the runners are given work again: 1 ms, where a whole window takes 25."""
    unknown_seconds: float = 1.0
    """What a task of a function that never ran is taken to last: long, so that nothing is put behind it until it is known."""
    late_seconds: float = 0.02
    """A runner that is silent for so long more than what it executes was thought to take gets nothing more: longer than a runner waits for
    a core on a busy machine as a rule, short enough that what is behind it hardly waits."""
    link_tries: int = 24
    """Attempts to open a link to another host, half a second apart, before what waits for it fails: longer than a lease runs, so that a
    lost host is known as such before that."""
    relay_bytes: int = 4 << 20
    """Datasets of at least this size that several hosts ask for go from host to host; for smaller ones the way through all of them takes
    about as long as sending each."""
    relay_fan_out: int = 1
    """Hosts that each host sends such a dataset to at a time: they share its cable, so with 2 a large dataset takes twice as long."""
    piece_bytes: int = 1 << 20
    """Pieces in which such a dataset travels: a host passes on whole pieces only, so each host on the way adds the time of one."""
    relay_seconds: float = 5.0
    """A relay that sends nothing for so long, times the number of hosts on the way, is taken to have failed. As long as a lease: what is
    only slow goes on, and a host that is lost costs no more than that."""
    stall_seconds: float = 1.0
    """With the store full and nothing running, the earliest result gets room above the capacity after this time."""
    grace_seconds: float = 1.0
    """A task of a job that was cancelled or failed may go on for so long before its runner is replaced."""
    crowded_grace_seconds: float = 0.2
    """The same where no other runner is idle, for tasks wait then, or may soon: long enough for most tasks to end."""
    death_limit: int = 100
    """Runners of one host that may die before they execute anything; then the host gives up instead of forking for ever."""

    def check(self) -> None:
        """Raises SettingsError for what would fail later, or only at the other hosts."""
        Allowed.from_env()  # which the runners read
        try:
            subjects.token(self.host)
        except ValueError:
            raise SettingsError(
                f"a host cannot be called {self.host!r}: give HEADRACE_HOST (--host) up to 64 letters, digits, '-' and '_'"
            ) from None
        for variable, address in (("LISTEN", self.listen), ("ADVERTISE", advertised(self.advertise, ("", 0)))):
            try:
                name, _ = split_address(address)
                if ":" in name:
                    ipaddress.IPv6Address(name)
            except ValueError as error:
                raise SettingsError(f"HEADRACE_{variable} (--{variable.lower()}): {error}") from None
        if self.spill_dir not in ("", NO_SPILLING) and not os.access(self.spill_dir, os.W_OK | os.X_OK):
            raise SettingsError(
                f"HEADRACE_SPILL_DIR (--spill-dir) is {self.spill_dir!r}: give a folder that exists and is writable, or {NO_SPILLING!r}"
            )

    def resolved_capacity(self) -> int:
        """Bytes of the store. Raises SettingsError for a folder that does not exist."""
        if self.capacity:
            return self.capacity
        folder = shm_folder(self.shm_dir)
        try:
            free = psutil.disk_usage(str(folder)).free
        except OSError as error:
            raise SettingsError(f"shared-memory folder {folder}: {error}; set HEADRACE_SHM_DIR to a folder that exists") from error
        return int(min(psutil.virtual_memory().total, free, memory_limit()) // 2)


def memory_limit() -> float:
    """Bytes that this process's control group may use; infinity where there is no such limit."""
    limits = [math.inf]
    try:
        groups = [line.strip().split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return math.inf
    for _, controllers, path in groups:
        if controllers == "":
            candidates = [Path(f"/sys/fs/cgroup{path}/memory.max"), Path("/sys/fs/cgroup/memory.max")]
        elif "memory" in controllers.split(","):
            folder = Path("/sys/fs/cgroup/memory")
            candidates = [folder / path.lstrip("/") / "memory.limit_in_bytes", folder / "memory.limit_in_bytes"]
        else:
            continue
        limits += [int(text) for file in candidates if (text := _read(file)).isdigit()]
    return min(limits)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def host_name() -> str:
    """The machine's name, made into a single token."""
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in socket.gethostname())[:64] or "host"
