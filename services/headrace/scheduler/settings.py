"""Settings of the scheduler. Sizes in tasks or integers, times in seconds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated

import msgspec

from headrace.bus.settings import LEADER_LEASE, lease_seconds
from headrace.variables import read_settings


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """The scheduler's settings.

    window_tasks: the most tasks of one job that are released to a host and not done (HEADRACE_WINDOW_TASKS). The window is refilled when it
    is
        half empty, so a host of one runner always has 4096 tasks: 40 ms of tasks of 10 us, longer than a refill takes.
    window_tasks_per_runner: window of a host per runner, if that is more, so that all runners find work even if the plan has long
    sequences.
    chain_tasks: length of the longest chain. A chain runs on one runner and is released as a whole; cutting it every 1024 tasks has no
    measurable cost.
    message_integers: the most integers in the columns of one message. With up to 8 characters each, they take 256 KB, which leaves room for
    an
        inline graph (`INLINE_GRAPH_BYTES`) below `MAX_MESSAGE_BYTES`.
    open_jobs, open_tasks_per_runner: up to `open_jobs` jobs are open (planned, and not done) at a time; more, as long as all open jobs have
    at
        most `open_tasks_per_runner` tasks for each runner (HEADRACE_OPEN_JOBS, HEADRACE_OPEN_TASKS_PER_RUNNER). Other jobs wait in the
        order of their arrival; see `admission`. Enough that runners never wait for the next job, and few enough that each message is about
        many tasks.
    grown_seconds: a job that has been open for longer no longer counts, so that long jobs do not hold up short ones.
    tick_seconds: how often waiting jobs and running tasks are looked at if no message arrives: as often as hosts report what they run.
    leader_lease: see `bus.settings.LEADER_LEASE` (HEADRACE_LEADER_LEASE). Hosts work through their windows until another one leads.
    retry_delay: pause before this process leads again, after the log refused a decision.
    """

    window_tasks: Annotated[int, msgspec.Meta(ge=1)] = 8192
    window_tasks_per_runner: int = 1024
    chain_tasks: int = 1024
    message_integers: int = 32_000
    open_jobs: Annotated[int, msgspec.Meta(ge=1)] = 8
    open_tasks_per_runner: Annotated[int, msgspec.Meta(ge=1)] = 512
    grown_seconds: float = 1.0
    tick_seconds: float = 0.1
    leader_lease: float = LEADER_LEASE
    retry_delay: float = 1.0

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read HEADRACE_WINDOW_TASKS, _OPEN_JOBS, _OPEN_TASKS_PER_RUNNER and _LEADER_LEASE. Only tests set the others.

        Raises SettingsError, which names the variable, for an invalid number or duration.
        """
        env = os.environ if env is None else env
        found = read_settings(cls, ["window_tasks", "open_jobs", "open_tasks_per_runner"], env)
        return msgspec.structs.replace(found, leader_lease=lease_seconds("HEADRACE_LEADER_LEASE", env, LEADER_LEASE))

    def window(self, runners: int) -> int:
        """The most tasks of a job that a host with this number of runners has."""
        return max(self.window_tasks, self.window_tasks_per_runner * runners)

    @property
    def longest_chain(self) -> int:
        """A chain fits into half a window, so that a refill at half always releases something."""
        return max(1, min(self.chain_tasks, self.window_tasks // 2))
