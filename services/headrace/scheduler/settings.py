"""The settings of the scheduler, each with its unit and the reason for its default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec

from headrace.bus.settings import LEADER_LEASE_SECONDS, read_lease
from headrace.variables import read_settings


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """The settings of a scheduler."""

    VARIABLES: ClassVar[dict[str, str]] = {
        "window_tasks": "HEADRACE_WINDOW_TASKS",
        "open_jobs": "HEADRACE_OPEN_JOBS",
        "open_tasks_per_runner": "HEADRACE_OPEN_TASKS_PER_RUNNER",
        "lease_seconds": "HEADRACE_LEADER_LEASE",
    }
    """The environment variable of each field that users set. Only tests set the others."""

    window_tasks: Annotated[int, msgspec.Meta(ge=1)] = 8192
    """The most tasks of one job that are released to a host and not done. The window is refilled when it is half empty, so a host of one
    runner always has 4,096 tasks: 40 ms of tasks of 10 µs, longer than a refill takes."""
    window_tasks_per_runner: int = 1024
    """The window for each runner of a host, if that makes a larger one, so that all runners find work even in a plan of long sequences."""
    chain_tasks: int = 1024
    """Length of the longest chain, in tasks. A chain runs on one runner and is released as a whole; cutting it every 1,024 tasks has no
    measurable cost."""
    message_integers: int = 32_000
    """The most integers in the columns of one message. With up to 8 characters each, they take 256 KB, which leaves room for an inline
    graph (`INLINE_GRAPH_BYTES`) below `MAX_MESSAGE_BYTES`."""
    open_jobs: Annotated[int, msgspec.Meta(ge=1)] = 8
    """Jobs that are open (planned, and not done) at a time, whatever their size: enough that runners never wait for the next job, and few
    enough that each message is about many tasks. The others wait in the order of submission."""
    open_tasks_per_runner: Annotated[int, msgspec.Meta(ge=1)] = 512
    """More jobs than HEADRACE_OPEN_JOBS are open as long as together they have at most this number of tasks for each runner, so that jobs
    of a few tasks do not leave runners idle."""
    grown_seconds: float = 1.0
    """A job that has been open for longer no longer counts among the open jobs, so that long jobs do not hold up short ones."""
    tick_seconds: float = 0.1
    """Time between two checks of waiting jobs and running tasks if no message arrives. Hosts report their running tasks as often."""
    long_seconds: float = 0.2
    """A task that runs for this time counts as long. It takes a fraction of this time to move waiting tasks to another host."""
    relief_seconds: float = 0.1
    """Time between two checks of the tasks that wait on hosts with long tasks, unless another host has become idle. Each check goes through
    every task."""
    level_seconds: float = 0.1
    """Time between two checks for hosts that would finish late while others are idle. Each check goes through every task."""
    late_seconds: float = 0.1
    """Waiting work moves to an idle host only if its host would finish later than the others by this time: a few times the round trip that
    a move takes."""
    gigabyte_seconds: float = 2.0
    """Time that each gigabyte of inputs of moved work is assumed to take to its new host: twice that of an idle link of 10 Gbit/s."""
    known_functions: int = 512
    """Functions whose durations are remembered; the one that ran longest ago is forgotten first. Speeds of hosts are computed from all of
    them."""
    say_again_seconds: float = 3.0
    """A reroute is not repeated within this time: the host may have asked its new source before that knew that it has to produce the
    dataset. Hosts report missing datasets every five seconds, so a lost reroute is sent again."""
    lease_seconds: float = LEADER_LEASE_SECONDS
    """How long the leader leads without contact to NATS; see `bus.settings.LEADER_LEASE_SECONDS`. Hosts work through their windows until
    another one leads."""
    retry_seconds: float = 1.0
    """Pause before this process leads again after the log refused a decision. The reason for the refusal should be gone by then."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from the variables in `VARIABLES`. Raises SettingsError, which names the variable, for an invalid value."""
        env = os.environ if env is None else env
        return read_settings(cls, env, lease_seconds=read_lease(cls.VARIABLES["lease_seconds"], env, LEADER_LEASE_SECONDS))

    def window(self, runners: int) -> int:
        """Return the most tasks of a job that may be released to a host with this number of runners."""
        return max(self.window_tasks, self.window_tasks_per_runner * runners)

    @property
    def longest_chain(self) -> int:
        """The length of the longest chain, in tasks: at most half a window, so that a refill at half always releases a chain."""
        return max(1, min(self.chain_tasks, self.window_tasks // 2))
