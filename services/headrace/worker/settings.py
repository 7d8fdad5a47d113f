"""The settings of a host, each with its unit and the reason for its default."""

from __future__ import annotations

import ipaddress
import math
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import msgspec
import psutil

from headrace.bus.settings import HOST_LEASE, read_lease
from headrace.errors import SettingsError
from headrace.link.addresses import split_address
from headrace.sinks.allowed import Allowed
from headrace.variables import shm_folder
from headrace.worker.addresses import advertised
from headrace_schemas import subjects

NO_SPILLING = "none"
"""As `spill_dir`: data that does not fit stays in memory, above the capacity."""


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """The settings of one worker. `headrace worker` makes them from its flags and variables."""

    VARIABLES: ClassVar[dict[str, str]] = {
        "host": "HEADRACE_HOST",
        "runners": "HEADRACE_RUNNERS",
        "capacity_bytes": "HEADRACE_CAPACITY",
        "resources": "HEADRACE_RESOURCES",
        "shm_dir": "HEADRACE_SHM_DIR",
        "spill_dir": "HEADRACE_SPILL_DIR",
        "listen": "HEADRACE_LISTEN",
        "advertise": "HEADRACE_ADVERTISE",
        "lease_seconds": "HEADRACE_HOST_LEASE",
    }
    """The variable of each field that users set. Only tests set the others."""

    host: str
    """The host's name, unique in the cluster; by default the machine's name. It is a token of subjects: up to 64 letters, digits, `-` and
    `_`."""
    runners: int = 1
    """Processes that execute tasks: as many as tasks of one thread are to run at a time."""
    capacity_bytes: int = 0
    """Size of the store in bytes, like `500M`, `4G` or `4Gi`; 0: half of the memory, or half of the free space of the shared-memory folder,
    whichever is less. The other half is for values that tasks hold on their own heaps."""
    resources: dict[str, float] = {}
    """Amounts that this host has for tasks that need them, like `gpu=1,highmem=2`. A task runs only on a host that has what it needs."""
    shm_dir: str = ""
    """Folder in shared memory that holds the store. By default `/dev/shm`, or the temporary folder if that is not usable."""
    spill_dir: str = ""
    """Folder on disk for datasets that do not fit into memory; by default the temporary folder. With `none`, they stay in memory, above the
    capacity."""
    listen: str = "127.0.0.1:0"
    """Address and port at which other hosts and clients fetch data; port 0 takes a free one. By default only this machine reaches it."""
    advertise: str = ""
    """Address (and port) that other hosts and clients connect to, if it differs from HEADRACE_LISTEN. By default with `0.0.0.0`, the
    address that this machine uses to reach the NATS server."""
    lease_seconds: float = HOST_LEASE
    """How long a host counts as alive without contact to NATS, at least 1 s. With a shorter lease, other hosts take over the tasks of a
    dead host sooner, but a machine that pauses for longer has to start its tasks again, which costs more than a new leader."""
    report_seconds: float = 0.001
    """Delay of reports that somebody waits for (outputs, failures, memory to free), so that they are sent together. None if the host was
    quiet."""
    busy_report_seconds: float = 0.005
    """Delay of outputs and failures while the host has more tasks of their job, since the job is not over then. With a delay of 1 ms,
    10,000 short tasks with an output each cost a fifth of a service's CPU time for receiving messages."""
    quiet_report_seconds: float = 0.02
    """Delay of reports on which decisions depend soon: if there are many of them, if memory could be freed because of them, or if this host
    has no work left."""
    idle_report_seconds: float = 0.1
    """Delay of all other reports: those of few, long tasks, while more of them wait here. A message costs all services together 2 to 3 ms
    if tasks fill the caches with their arrays. Progress bars move at this interval."""
    queue_seconds: float = 0.01
    """A runner gets more work while it has less than this, as predicted: more than sending takes, but little enough that work is shared
    evenly and the last task begins soon."""
    queue_segments: int = 512
    """The most segments that a runner has at a time, however short."""
    part_chains: int = 256
    """Chains of an assignment that are read before runners are given work again: this takes 1 ms, a whole window 25 ms."""
    unknown_seconds: float = 1.0
    """Predicted duration of tasks of a function that never ran: long, so that no task is queued behind one until the duration is known."""
    late_seconds: float = 0.02
    """A runner whose task takes this much longer than predicted gets no more work: usually longer than a runner waits for a core on a busy
    machine, and short enough that the tasks behind hardly wait."""
    unreachable_seconds: float = 2.0
    """A host to which no link can be opened for this time is reported, again and again while that lasts. With the four seconds after which
    a link over a network that is cut ends, a host that its peers cannot reach is known after less than ten."""
    give_up_seconds: float = 5.0
    """After this time, the tasks that wait for such a host fail here, and are tried on other hosts. As long as a lease, so that a host that
    has ended is known to be lost at about that time."""
    relay_bytes: int = 4 << 20
    """If several hosts ask for a dataset of at least this size, it goes from host to host. For smaller ones, that takes about as long as to
    send it to each."""
    relay_fan_out: int = 1
    """Number of hosts that each host sends such a dataset to: they share its network link, so with 2 a large dataset takes twice as
    long."""
    piece_bytes: int = 1 << 20
    """Size of the pieces of such a dataset. A host passes on whole pieces, so each host on the way adds the time of one."""
    relay_seconds: float = 5.0
    """A relay that sends nothing for this time, multiplied by the number of hosts on the way, has failed. As long as a lease, so that slow
    relays go on, and a lost host costs no more than that."""
    spill_pause_seconds: float = 5.0
    """After a dataset could not be moved to disk, nothing is moved there for this time, which doubles with each failure in succession, up
    to a minute: short enough to use a repaired disk soon, long enough not to fill the log."""
    memory_pause_seconds: float = 30.0
    """After the folder of shared memory was found full, the store keeps to what it has there for this time. Each try with the full capacity
    costs one write that fails."""
    stuck_seconds: float = 60.0
    """A segment that has waited for this time for something that should come at once is told of: longer than anything that mends itself
    takes, like a link that is opened again, or a dataset that is made again after a pause."""
    stall_seconds: float = 1.0
    """After this time with a full store and no running task, the earliest result gets room above the capacity."""
    grace_seconds: float = 1.0
    """A task of a cancelled or failed job may go on for this time before its runner is replaced."""
    crowded_grace_seconds: float = 0.2
    """The same if no other runner is idle, since tasks wait then, or may soon: long enough for most tasks to end."""
    death_limit: int = 100
    """The host gives up after this number of runners died before they executed anything, instead of starting more for ever."""

    def with_env(self, env: Mapping[str, str] | None = None) -> Settings:
        """Return these settings with those that have a variable and no flag. Raises SettingsError, which names it, for an invalid value."""
        lease = read_lease(self.VARIABLES["lease_seconds"], os.environ if env is None else env, self.lease_seconds)
        return msgspec.structs.replace(self, lease_seconds=lease)

    def check(self) -> None:
        """Raises SettingsError for settings that would fail later, or only on other hosts."""
        Allowed.from_env()  # the runners read it again
        try:
            subjects.token(self.host)
        except ValueError:
            raise SettingsError(
                f"a host cannot be called {self.host!r}: set HEADRACE_HOST (--host) to a name of up to 64 letters, digits, '-' and '_'"
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

    def resolved_capacity_bytes(self) -> int:
        """Bytes of the store. Raises SettingsError for a folder that does not exist."""
        if self.capacity_bytes:
            return self.capacity_bytes
        folder = shm_folder(self.shm_dir)
        try:
            free = psutil.disk_usage(str(folder)).free
        except OSError as error:
            raise SettingsError(f"shared-memory folder {folder}: {error}; set HEADRACE_SHM_DIR to a folder that exists") from error
        return int(min(self.memory(), free) // 2)

    def shm_shortage(self) -> str:
        """What to say of a capacity that the folder of shared memory can never hold; empty if it can."""
        folder = shm_folder(self.shm_dir)
        total = psutil.disk_usage(str(folder)).total
        if self.capacity_bytes <= total:
            return ""
        return (
            f"HEADRACE_CAPACITY (--capacity) is {self.capacity_bytes:,} bytes, but {folder} has room for {total:,}: what does not fit "
            "there is moved to disk. Enlarge that folder (for a container: its shm size), or lower the capacity"
        )

    def memory(self) -> int:
        """Bytes of memory that this host's processes may use together."""
        return int(min(psutil.virtual_memory().total, memory_limit()))


def memory_limit() -> float:
    """Bytes that this process's control group may use; infinity without a limit."""
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
