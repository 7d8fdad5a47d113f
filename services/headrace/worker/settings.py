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
    lease_seconds: float = HOST_LEASE_SECONDS
    """How long a host counts as alive without contact to NATS, at least 1 s. With a shorter lease, other hosts take over the tasks of a
    dead host sooner, but a machine that pauses for longer has to start its tasks again, which costs more than a new leader."""
    tick_seconds: float = 0.1
    """Time between two times that the state machine is told the time: only what goes wrong waits for that."""
    rejoin_seconds: float = 0.5
    """Time until a host that could not join, because NATS did not answer, tries again."""
    exile_look_seconds: float = 1.0
    """Time between two tries of a host that others could not reach to reach one of them, and until a try is given up."""
    exile_soon_seconds: float = 60.0
    """A host that is lost again within this time after it joined still has the same trouble with its network: it stays out for a while."""
    exile_seconds: float = 10.0
    """Time for which it stays out at least in that case. It doubles each time."""
    longest_exile_seconds: float = 300.0
    """Time for which it stays out at most."""
    failures_in_a_row: int = 20
    """Events of one kind on which the state machine may fail one after another, with none in between that succeeds, before the host begins
    anew."""
    over_remembered: int = 10_000
    """Jobs that are over and whose late messages are still recognised."""
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
    relay_failures: int = 3
    """After this number of failures a host is not sent to a relay again, as long as both keep their links: one may have dropped its copy a
    moment ago, but one that fails more often cannot be reached."""
    least_failures: int = 2
    """Links to a host that must have failed before it counts as out of reach, however late it is: this host itself may have stood still
    meanwhile."""
    orphan_seconds: float = 5.0
    """A dataset that has had no source for this time is reported as gone, in case the word of its new source was lost: as long as a
    lease."""
    link_retry_ticks: int = 5
    """Links that ended are opened again every time this number of ticks has passed: twice a second."""
    unread_bytes: int = 256 << 20
    """Small values and answers that may wait for a peer to read them; the link to one that asks for more and does not read ends. Blocks of
    the store do not count: they stay where they are until they are sent."""
    link_close_seconds: float = 1.0
    """Time until all links have ended that were closed. It takes two turns of the event loop."""
    send_window_bytes: int = 32 << 20
    """Bytes under way to a peer, from which on it is not sent another dataset: what a fast network takes in some milliseconds."""
    disk_piece_bytes: int = 4 << 20
    """Bytes read from disk at a time to be sent: few enough that other reads of the disk come soon, and a hundredth of a second's work."""
    disk_pieces_ahead: int = 2
    """Pieces from disk under way to a peer: one is read while the other one is sent."""
    pressure_share: float = 0.9
    """Share of the capacity from which on a host that cannot spill starts only what frees memory or is earliest in the plan."""
    address_space_factor: int = 4
    """Address space of the store per byte of capacity: it costs nothing and keeps fragmentation away. No store becomes larger than that."""
    spill_headroom_share: float = 0.1
    """Share of the capacity that is kept free by spilling ahead, so that results need not wait for the disk."""
    spill_bytes: int = 64 << 20
    """Bytes written to disk at a time: some tens of milliseconds, for which a restore may have to wait."""
    parked_segments: int = 4
    """Segments that may wait for inputs to come back from disk at a time: each pins its inputs."""
    longest_spill_pause_seconds: float = 60.0
    """A pause after a failed write lasts at most this long: a disk that was repaired is used again within a minute."""
    spill_pause_seconds: float = 5.0
    """After a dataset could not be moved to disk, nothing is moved there for this time, which doubles with each failure in succession, up
    to a minute: short enough to use a repaired disk soon, long enough not to fill the log."""
    memory_pause_seconds: float = 30.0
    """After the folder of shared memory was found full, the store keeps to what it has there for this time. Each try with the full capacity
    costs one write that fails."""
    stuck_seconds: float = 60.0
    """A segment that has waited for this time for something that should come at once is told of: longer than anything that mends itself
    takes, like a link that is opened again, or a dataset that is made again after a pause."""
    watched_segments: int = 500
    """Segments that are looked at each time for such waits, the earliest of each job first: those that wait longest are among them, and it
    takes 1 ms."""
    stall_seconds: float = 1.0
    """After this time with a full store and no running task, the earliest result gets room above the capacity."""
    grace_seconds: float = 1.0
    """A task of a cancelled or failed job may go on for this time before its runner is replaced."""
    crowded_grace_seconds: float = 0.2
    """The same if no other runner is idle, since tasks wait then, or may soon: long enough for most tasks to end."""
    runner_linger_seconds: float = 1.0
    """Time between the end of a runner's socket and its exit. Both come together, unless a task closed the socket."""
    runner_kill_seconds: float = 10.0
    """Time in which a runner that was killed is gone. One that is not hangs in the kernel."""
    oom_seconds: float = 3.0
    """A runner that ends within this time after the kernel's count of kills for memory rose was killed for memory: its death is known
    within milliseconds, or, on a machine that has no memory left, within a second or two."""
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
