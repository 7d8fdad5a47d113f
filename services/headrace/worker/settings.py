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

from headrace.bus.settings import HOST_LEASE_SECONDS, read_lease
from headrace.errors import SettingsError
from headrace.link.addresses import split_address
from headrace.sinks.allowed import Allowed
from headrace.variables import shm_folder
from headrace.worker.addresses import advertised
from headrace_schemas import subjects

NO_SPILLING = "none"
"""The value of `spill_dir` with which datasets that do not fit stay in memory, above the capacity."""


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
        "record_dir": "HEADRACE_RECORD",
    }
    """The environment variable of each field that users set. Only tests set the others."""

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
    lease_seconds: float = HOST_LEASE_SECONDS
    """How long a host counts as alive without contact to NATS, at least 1 s. With a shorter lease, other hosts take over the tasks of a
    dead host sooner, but a machine that pauses for longer has to start its tasks again, which costs more than a new leader."""
    record_dir: str = ""
    """Folder for the record of what this host is told and decides, which `headrace replay --record` runs again. By default nothing is
    recorded: a record contains the small values and the functions of all jobs, and costs a system call per event."""
    record_bytes: int = 256 << 20
    """The largest record. It is kept from the beginning, because a replay begins there. A host without work fills it in three days."""
    tick_seconds: float = 0.1
    """Time between two ticks of the state machine, by which it notices what takes too long."""
    rejoin_seconds: float = 0.5
    """Pause before a host tries again to join, after NATS did not answer."""
    exile_look_seconds: float = 1.0
    """How often a host that was lost, because peers could not reach it, tries to reach one of them. Also the timeout of each try."""
    exile_soon_seconds: float = 60.0
    """A host that is lost again this soon after it joined still has the same network fault, and stays out for a while."""
    exile_seconds: float = 10.0
    """Shortest time for which such a host stays out. It doubles each time."""
    longest_exile_seconds: float = 300.0
    """Longest time for which such a host stays out."""
    failures_in_a_row: int = 20
    """Consecutive events of one kind on which the state machine may raise an exception, before the host starts again without its
    datasets."""
    over_remembered: int = 10_000
    """Finished jobs whose late messages are still recognised."""
    report_seconds: float = 0.001
    """Delay of reports that a client or service waits for (outputs, failures, memory to free), so that they are sent together. A host that
    sent no report just before sends at once."""
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
    """A runner gets more work while it has less than this predicted time of it: more than sending takes, and little enough that work is
    shared evenly and the last task begins soon."""
    queue_segments: int = 512
    """The most segments that a runner has at a time, however short."""
    part_chains: int = 256
    """Chains of an assignment that are read before runners get work again. This takes 1 ms; a whole window would take 25 ms."""
    unknown_seconds: float = 1.0
    """Predicted duration of tasks of a function that never ran: long, so that no task is queued behind one until the duration is known."""
    late_seconds: float = 0.02
    """A runner whose task takes this much longer than predicted gets no more work: usually longer than a runner waits for a core on a busy
    machine, and short enough that the tasks behind hardly wait."""
    unreachable_seconds: float = 2.0
    """A host to which no link can be opened for this time is reported, repeatedly while that lasts. A link over a cut network ends after
    four seconds, so the controller knows of a host that its peers cannot reach within ten."""
    give_up_seconds: float = 5.0
    """After this time, tasks that wait for data of such a host fail here, and are retried on other hosts. As long as a lease, so that the
    loss of a dead host is known at about that time."""
    relay_bytes: int = 4 << 20
    """If several hosts ask for a dataset of at least this size, it is relayed from host to host. For smaller ones, that takes about as long
    as sending it to each."""
    relay_fan_out: int = 1
    """Number of hosts that each host sends such a dataset to: they share its network link, so with 2 a large dataset takes twice as
    long."""
    piece_bytes: int = 1 << 20
    """Size of the pieces of a relayed dataset. A host passes on whole pieces, so each host on the way adds the time of one."""
    relay_seconds: float = 5.0
    """A relay has failed if it sends nothing for this time, multiplied by the number of hosts on the way. As long as a lease, so that slow
    relays go on, and a lost host costs no more than that."""
    relay_failures: int = 3
    """After this number of failures between a host and a relay, the host is not sent to that relay again while both keep their links. A
    relay may fail once because it has just dropped its copy, but one that fails more often cannot be reached."""
    least_failures: int = 2
    """Failed links after which a host may count as unreachable. Time alone is not enough, because this host itself may have stood still."""
    orphan_seconds: float = 5.0
    """A dataset without a source for this time is reported as gone, in case the message with its new source was lost. As long as a
    lease."""
    link_retry_ticks: int = 5
    """Number of ticks after which ended links are opened again: twice a second."""
    unread_bytes: int = 256 << 20
    """Bytes of small values and answers that may wait for a peer to read them. Beyond that, its link is closed. Blocks of the store do not
    count, since they stay in the store until they are sent."""
    link_close_seconds: float = 1.0
    """Longest wait for closed links to end. It normally takes two turns of the event loop."""
    send_window_bytes: int = 32 << 20
    """Bytes in flight to a peer, from which on no further dataset is sent to it: what a fast network takes in some milliseconds."""
    disk_piece_bytes: int = 4 << 20
    """Bytes of a spilled dataset that are read at a time to be sent. This takes about 10 ms, so other reads of the disk wait no longer."""
    disk_pieces_ahead: int = 2
    """Pieces of a spilled dataset in flight to a peer: one is read while the other is sent."""
    pressure_share: float = 0.9
    """Share of the capacity from which on a host that cannot spill starts only tasks that free memory or are earliest in the plan."""
    address_space_factor: int = 4
    """Address space of the store per byte of capacity. It costs nothing and avoids fragmentation. The store cannot grow beyond it."""
    spill_headroom_share: float = 0.1
    """Share of the capacity that is kept free by spilling ahead, so that results need not wait for the disk."""
    spill_bytes: int = 64 << 20
    """Bytes written to disk at a time. This takes some tens of milliseconds, for which a restore may have to wait."""
    parked_segments: int = 4
    """Segments that may wait for inputs from disk at a time. Each pins its inputs in memory."""
    longest_spill_pause_seconds: float = 60.0
    """Longest pause after a failed write, so that a repaired disk is used again within a minute."""
    spill_pause_seconds: float = 5.0
    """Pause after a dataset could not be written to disk. It doubles with each consecutive failure, up to a minute: short enough to use a
    repaired disk soon, long enough not to fill the log."""
    memory_pause_seconds: float = 30.0
    """After the folder of shared memory was full, the store does not grow for this time. Each try to grow to the full capacity costs one
    failed write."""
    stuck_seconds: float = 60.0
    """A segment that waits this long for something that should come at once is reported. Faults that the cluster repairs by itself take
    less time: a link that is opened again, or a dataset that is computed again after a pause."""
    watched_segments: int = 500
    """Segments that are checked for such waits each time, the earliest of each job first. Those that wait longest are among them, and the
    check takes 1 ms."""
    stall_seconds: float = 1.0
    """After this time with a full store and no running task, the earliest result gets room above the capacity."""
    grace_seconds: float = 1.0
    """A task of a cancelled or failed job may go on for this time before its runner is replaced."""
    crowded_grace_seconds: float = 0.2
    """The same if no other runner is idle, since tasks wait then, or may soon: long enough for most tasks to end."""
    runner_linger_seconds: float = 1.0
    """Time between the end of a runner's socket and its exit. Both come together, unless a task closed the socket."""
    runner_kill_seconds: float = 10.0
    """Longest wait for a killed runner to end. One that has not ended by then hangs in the kernel."""
    oom_seconds: float = 3.0
    """A runner that ends within this time after the kernel's count of out-of-memory kills rose is taken to be killed for memory. Its death
    is usually known within milliseconds, and on a machine without free memory within a second or two."""
    death_limit: int = 100
    """The host gives up after this number of consecutive runners died before they executed a task."""

    def with_env(self, env: Mapping[str, str] | None = None) -> Settings:
        """Add the settings that have a variable and no flag. Raises SettingsError, which names the variable, for an invalid value."""
        given = os.environ if env is None else env
        lease = read_lease(self.VARIABLES["lease_seconds"], given, self.lease_seconds)
        return msgspec.structs.replace(self, lease_seconds=lease, record_dir=given.get(self.VARIABLES["record_dir"], self.record_dir))

    def check(self) -> None:
        """Raise SettingsError for settings that would fail later, or only on other hosts."""
        Allowed.from_env()  # raises early; the runners read it again
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
        """Return the size of the store in bytes. Raises SettingsError if the folder of shared memory does not exist."""
        if self.capacity_bytes:
            return self.capacity_bytes
        folder = shm_folder(self.shm_dir)
        try:
            free = psutil.disk_usage(str(folder)).free
        except OSError as error:
            raise SettingsError(f"shared-memory folder {folder}: {error}; set HEADRACE_SHM_DIR to a folder that exists") from error
        return int(min(self.memory(), free) // 2)

    def shm_shortage(self) -> str:
        """Return a warning if the folder of shared memory is smaller than the capacity, or an empty text."""
        folder = shm_folder(self.shm_dir)
        total = psutil.disk_usage(str(folder)).total
        if self.capacity_bytes <= total:
            return ""
        return (
            f"HEADRACE_CAPACITY (--capacity) is {self.capacity_bytes:,} bytes, but {folder} has room for {total:,}. Datasets that do "
            "not fit there are moved to disk. Enlarge the folder (for a container: its shm size), or lower the capacity"
        )

    def memory(self) -> int:
        """Return the bytes of memory that this host's processes may use together."""
        return int(min(psutil.virtual_memory().total, memory_limit()))


def memory_limit() -> float:
    """Return the bytes of memory that this process's control groups may use. Infinity without a limit."""
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
    """Return the machine's name, made into a single token of a subject."""
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in socket.gethostname())[:64] or "host"
