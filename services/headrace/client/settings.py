"""The settings of the user's side, each with its unit and the reason for its value."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from headrace.variables import read_settings


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """The settings of a client."""

    VARIABLES: ClassVar[dict[str, str]] = {"via": "HEADRACE_VIA"}
    """The variable of each field that users set."""

    via: str = ""
    """From where a client fetches values: `hosts` or `publisher`. By default from the hosts, which is faster, and through the publisher
    where it cannot reach one."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the variables of `VARIABLES`."""
        return read_settings(cls, os.environ if env is None else env)


START_TIMEOUT = 30.0
"""Seconds that a local cluster may take to start. It takes one; a machine that swaps takes more, and one that takes this long
never will."""
SERVICE_GRACE = 1.0
"""Seconds that the services of a local cluster have to end in order before they are killed. Nothing of a local cluster outlives
it, so nothing is lost."""
KILL_GRACE = 3.0
"""Seconds after which a process that was killed is no longer waited for: it hangs in the kernel."""
SUPERVISOR_GRACE = SERVICE_GRACE + KILL_GRACE + 1.0
"""Seconds that the supervisor has to end everything, before it is killed itself and its folders are removed for it."""
THREAD_GRACE = 2.0
"""Seconds that the client's own thread has to end."""
FLUSH_SECONDS = 2.0
"""Seconds that a client which leaves a running cluster waits until its last requests are safe in the stream."""
SUBMIT_SECONDS = 30.0
"""Seconds that `submit` waits until the log has the job, and a client that leaves for those that it submitted, while the server answers: a
large graph has to be stored first."""
LOG_TAIL_BYTES = 4096
"""Bytes of the services' log that an error shows: about 40 lines."""
LOG_READ_BYTES = 65_536
"""Bytes at the end of the log that are searched for the last records of a service: others may have logged much since."""
PROGRESS_AFTER = 1.0
"""Seconds of waiting after which a terminal shows a progress bar: below it a bar only flickers."""
PROGRESS_EVERY = 0.1
"""Seconds between two updates of a progress bar."""
ATTACH_TIMEOUT = 30.0
"""Seconds that reading the log of a job that was submitted before may take: a log of a million tasks takes a few."""
ANNOUNCE_SECONDS = 2.0
"""Seconds after a job's end in which its last outputs are announced, unless there is no publisher: it takes a hundredth of one."""
DIRECT_SECONDS = 2.0
"""Seconds in which a host is to answer before its values are fetched through the publisher: one lost packet more than any network needs."""
UNREACHABLE_SECONDS = 300.0
"""Seconds after which a host that could not be reached is tried again: it may have been restarting."""
FETCH_TIMEOUT = 10.0
"""Seconds for a publisher to begin a fetch: it may have to wait its turn, and for a host that does not answer."""
PIECE_TIMEOUT = 10.0
"""Seconds for the next piece of a fetch. Where there is none yet, a publisher says so after two."""
PIECES_ASKED_FOR = 4
"""Pieces asked for at a time: one is on its way, one is being put into its place, and the publisher has questions to answer at once."""
FETCH_TRIES = 3
"""How often a fetch through publishers is begun, if one ends meanwhile, or there is none."""
FETCH_PAUSE = 0.5
"""Seconds before it is begun again."""
STATUS_TIMEOUT = 2.0
"""Seconds in which a host answers how it stands, unless it is not well."""
RELEASE_DELAY = 0.002
"""Seconds after which hosts are told that a client has its results: a program that submits one small job after the other has the
next one on its way by then, and does not wait for this."""
FEEDS_OF_JOBS = 4
"""Open jobs that have a feed each, on a connection to a shared cluster. Further jobs share one feed, which receives the messages of all
clients: that costs less than many consumers."""
SHARED_FEED_SECONDS = 2.0
"""Seconds after the end of its last job until the shared feed is closed: a program that submits many jobs soon submits the next one."""
KNOWN_SECONDS = 30.0
"""Seconds for which a connection remembers how its jobs ended, so that `Cluster.jobs` and `outputs` are right although the services write
this down some tenths of a second later."""


def check_timeout(timeout: object) -> None:
    """Raises TypeError or ValueError for an invalid timeout."""
    if timeout is None:
        return
    if not isinstance(timeout, numbers.Real):
        raise TypeError(f"timeout={timeout!r:.80}: give a number of seconds, or None to wait for ever")
    if math.isnan(timeout):
        raise ValueError("timeout=nan, which is not a time: give a number of seconds, or None to wait for ever")


FETCH_AGAIN = 0.25
"""Seconds until outputs are asked for again that could not be fetched: a host that joins again takes about that long."""
QUIET_SECONDS = 2.0
"""Seconds of silence after which it is looked whether a host still holds what it is to send."""
LOST_SECONDS = 12.0
"""Seconds until outputs are said to be lost which the log says a host has, and that cannot be fetched, or which are nowhere and not being
made again. By then a lost host is known (5 s), another controller leads if the first is gone as well (3 s), and has decided."""
