"""The settings of the client, each with its unit and the reason for its value."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from headrace.variables import read_settings


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """The settings of clients and of local clusters."""

    VARIABLES: ClassVar[dict[str, str]] = {"via": "HEADRACE_VIA"}
    """The variable of each field that users set. Only tests set the others."""

    # --- fetching outputs -----------------------------------------------------------------------------------------------------

    via: str = ""
    """From where a client fetches values: `hosts` or `publisher`. By default from the hosts, which is faster, and through the publisher
    where it cannot reach one."""
    direct_seconds: float = 2.0
    """Time for a host to answer before its values are fetched through the publisher: enough for one lost packet on any network."""
    unreachable_seconds: float = 300.0
    """Time after which a host that could not be reached is tried again: it may have been restarting."""
    quiet_seconds: float = 2.0
    """Silence after which a client checks whether a host still holds what it should send."""
    fetch_seconds: float = 10.0
    """Time for a publisher to start a fetch: it may have to wait for its turn, and for a host that does not answer."""
    piece_seconds: float = 10.0
    """Time for the next piece of a fetch. If there is none yet, a publisher says so after two seconds."""
    pieces_ahead: int = 4
    """Pieces that a client requests at a time: one is being sent, one is being stored, and the publisher has further requests to answer at
    once."""
    fetch_tries: int = 3
    """Attempts at a fetch through publishers, if a publisher ends meanwhile, or there is none."""
    fetch_pause_seconds: float = 0.5
    """Pause before the next attempt: long enough for another publisher to prepare to lead."""
    fetch_again_seconds: float = 0.25
    """Time until a client tries again to fetch outputs that it could not fetch: a host that joins again takes about that long."""
    lost_seconds: float = 12.0
    """Time after which outputs count as lost if the log says that a host has them but they cannot be fetched, or if no host has them and
    they are not being computed again. By then the loss of a host is known (5 s), another controller leads if the first is gone as well
    (3 s), and it has decided."""
    files_at_once: int = 8
    """Files of sinks that a client reads at the same time: most of that time is spent waiting for a file system."""
    announce_seconds: float = 2.0
    """Time after a job's end in which its last outputs are announced, unless there is no publisher. It normally takes a hundredth of a
    second."""

    # --- submitting and following jobs ----------------------------------------------------------------------------------------

    submit_seconds: float = 30.0
    """Time that `submit` waits until the log has the job, and that a client that leaves waits for its submissions, while the server
    answers. A large graph has to be stored first."""
    submit_look_seconds: float = 0.5
    """Time between checks whether NATS stores anything, while a submission waits."""
    cancel_seconds: float = 30.0
    """Time to wait until the cluster confirms a cancel request: a standby controller takes about 5 s to lead."""
    abandon_seconds: float = 2.0
    """Time that an interrupted client waits for the cluster to confirm that its job will be cancelled: people do not wait long after
    Ctrl-C."""
    attach_seconds: float = 30.0
    """Time that reading the log of a job that was submitted before may take: a log of a million tasks takes a few seconds."""
    release_seconds: float = 0.002
    """Time after which hosts are told that a client has its results. A program that submits one small job after another has sent the next
    one by then, and does not wait for this."""
    feeds_of_jobs: int = 4
    """Open jobs that have a feed each, on a connection to a shared cluster. Further jobs share one feed, which receives the messages of all
    clients: that costs less than many consumers."""
    shared_feed_seconds: float = 2.0
    """Time after the end of its last job until the shared feed is closed: a program that submits many jobs soon submits the next one."""
    known_seconds: float = 30.0
    """Time for which a connection remembers how its jobs ended, so that `Cluster.jobs` and `outputs` are right although the services write
    this down some tenths of a second later."""
    admission_seconds: float = 10.0
    """Time until a client checks the log again, if it has much room. A fast cluster takes a minute to fill a tenth of it."""
    admission_near_share: float = 0.1
    """Share below the limit within which a client checks the log for each job."""
    status_seconds: float = 2.0
    """Time for a service to answer a request for its status."""
    ask_again_seconds: float = 0.02
    """Time between two requests if some services do not answer yet."""
    flush_seconds: float = 2.0
    """Time that a client that leaves a running cluster waits until its last requests are stored."""
    thread_seconds: float = 2.0
    """Time that the client's own thread has to end."""
    progress_after_seconds: float = 1.0
    """Time of waiting after which a terminal shows a progress bar: earlier, it would only flicker."""
    progress_seconds: float = 0.1
    """Time between two updates of a progress bar: as often as hosts report."""

    # --- local clusters -------------------------------------------------------------------------------------------------------

    start_seconds: float = 30.0
    """Time that a local cluster may take to start. It takes one second; a machine that swaps takes more, and one that takes this long will
    never start it."""
    service_seconds: float = 1.0
    """Time that the services of a local cluster have to end in order before they are killed. Nothing of a local cluster outlives it, so
    nothing is lost."""
    kill_seconds: float = 3.0
    """Time to wait for a process after it was killed: one that takes longer hangs in the kernel."""
    restarts: int = 5
    """Most restarts of one service within `restart_window_seconds`. If it ends again and again, another restart does not remove the
    cause."""
    restart_window_seconds: float = 60.0
    """Time in which restarts count: a service that is killed once an hour is restarted as long as the cluster lives."""
    restart_seconds: float = 0.1
    """Time until the first restart. It doubles with each restart that counts, so that a temporary cause can go away."""
    disk_look_seconds: float = 1.0
    """Time between two looks at the server's disk and log, which take two system calls."""
    disk_full_bytes: int = 1 << 20
    """Free space below which the server may not be able to write to its log either."""
    disk_room_bytes: int = 16 << 20
    """Free space from which on a restart of the server is worthwhile: several of the largest messages."""
    server_log_bytes: int = 65_536
    """Bytes of the server's log that one look reads, from its end."""
    log_tail_bytes: int = 4096
    """Bytes of the services' log that an error shows: about 40 lines."""
    log_read_bytes: int = 65_536
    """Bytes at the end of the log that are searched for the last records of a service, since others may have logged much after it."""

    @property
    def supervisor_seconds(self) -> float:
        """Time that the supervisor has to end everything, before it is killed itself and the client removes its folders."""
        return self.service_seconds + self.kill_seconds + 1.0

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the variables of `VARIABLES`."""
        return read_settings(cls, os.environ if env is None else env)


SETTINGS = Settings()
"""The settings of this process, except those with a variable, which are read when a client connects."""


def check_timeout(timeout: object) -> None:
    """Raise TypeError or ValueError for an invalid timeout."""
    if timeout is None:
        return
    if not isinstance(timeout, numbers.Real):
        raise TypeError(f"timeout={timeout!r:.80}: give a number of seconds, or None to wait without limit")
    if math.isnan(timeout):
        raise ValueError("timeout=nan, which is not a time: give a number of seconds, or None to wait without limit")
