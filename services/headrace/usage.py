"""How full a stream is, and what a job is told that the log has no room for."""

from __future__ import annotations

from typing import NamedTuple

ADMIT_BELOW = 0.8
"""Part of the log that may be full for new jobs to be admitted. Those that are under way need the rest."""


class Usage(NamedTuple):
    """What a stream holds, and what it may hold at most: `limit` bytes and `most_messages` messages; 0: as many as there is room for.

    >>> Usage(bytes=30, limit=40).share
    0.75
    """

    bytes: int
    limit: int
    messages: int = 0
    most_messages: int = 0

    @property
    def share(self) -> float:
        """Part of what it may hold that it holds, from 0 to 1; 0 if it has no limit."""
        shares = [used / most for used, most in ((self.bytes, self.limit), (self.messages, self.most_messages)) if most > 0]
        return max(shares, default=0.0)


def reason(used: int, limit: int, admitted: bool) -> str:
    """Why a job ends that the log has no room for, and what to do."""
    how = f"the log is full ({used / 1e6:,.1f} of {limit / 1e6:,.1f} MB)"
    what = "the job could not go on" if admitted else f"no new job is admitted above {ADMIT_BELOW:.0%}"
    return (
        f"{how}: {what}. Jobs that are over are removed by themselves, once their outputs are fetched or released; "
        "or raise the limit (nats stream edit LOG --max-bytes=...), then submit it again"
    )
