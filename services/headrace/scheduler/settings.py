"""Settings of the scheduler. Sizes in tasks or integers, times in seconds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated

import msgspec

from headrace.variables import read_settings


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """What the scheduler can be told.

    window_tasks: tasks released to a host and not done, per job, at most (HEADRACE_WINDOW_TASKS). Refilled at half, so a host of one runner
        is ahead of the scheduler by 4096 tasks: 40 ms of tasks of 10 us, more than a refill takes.
    window_tasks_per_runner: a host of many runners has a larger window, so that all find work also where the plan has long sequences.
    chain_tasks: the longest chain. A chain runs on one runner and is released whole; a cut every 1024 tasks costs nothing measurable.
    message_integers: integers in the columns of one message, at most. At up to 8 characters each that is 256 KB, which leaves room for an
        inline graph (`INLINE_GRAPH_BYTES`) below `MAX_MESSAGE_BYTES`.
    open_jobs, open_tasks_per_runner: jobs that are planned, released and not done at a time: so many, and more as long as they have no more
        tasks than this for each runner of the cluster (HEADRACE_OPEN_JOBS, HEADRACE_OPEN_TASKS_PER_RUNNER). The others wait in the order in
        which they arrived; see `admission`. Enough that runners never wait for the next job, few enough that messages are about
        many tasks each.
    grown_seconds: a job that was released so long ago does not count, so that long jobs do not hold up short ones.
    tick_seconds: how often jobs that wait and tasks that run are looked at, if the log says nothing: as often as hosts say what they run.
    lease_ttl: how long after the end of this process another may lead. Hosts work through their windows meanwhile.
    retry_delay: pause before leading again after the log refused a decision.
    """

    window_tasks: Annotated[int, msgspec.Meta(ge=1)] = 8192
    window_tasks_per_runner: int = 1024
    chain_tasks: int = 1024
    message_integers: int = 32_000
    open_jobs: Annotated[int, msgspec.Meta(ge=1)] = 8
    open_tasks_per_runner: Annotated[int, msgspec.Meta(ge=1)] = 512
    grown_seconds: float = 1.0
    tick_seconds: float = 0.1
    lease_ttl: float = 5.0
    retry_delay: float = 1.0

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read HEADRACE_WINDOW_TASKS, _OPEN_JOBS and _OPEN_TASKS_PER_RUNNER, the others being for tests.

        Raises SettingsError naming the variable if one is no number.
        """
        return read_settings(cls, ["window_tasks", "open_jobs", "open_tasks_per_runner"], os.environ if env is None else env)

    def window(self, runners: int) -> int:
        """Tasks of a job that a host of so many runners has at most."""
        return max(self.window_tasks, self.window_tasks_per_runner * runners)

    @property
    def longest_chain(self) -> int:
        """A chain fits into half a window, so that a refill at half always releases something."""
        return max(1, min(self.chain_tasks, self.window_tasks // 2))
