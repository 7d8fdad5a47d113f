"""The usage of a stream, and the error of a job for which the log has no room."""

from __future__ import annotations

from typing import NamedTuple

ADMIT_BELOW = 0.8
"""Share of the log below which new jobs are admitted. Running jobs need the rest."""


class Usage(NamedTuple):
    """The bytes and messages in a stream, and its limits: `limit` bytes and `most_messages` messages; 0: no limit.

    >>> Usage(bytes=30, limit=40).share
    0.75
    """

    bytes: int
    limit: int
    messages: int = 0
    most_messages: int = 0

    @property
    def share(self) -> float:
        """The used share of the limit, from 0 to 1; 0 without a limit."""
        shares = [used / most for used, most in ((self.bytes, self.limit), (self.messages, self.most_messages)) if most > 0]
        return max(shares, default=0.0)


def reason(used: int, limit: int, admitted: bool) -> str:
    """Return the reason why a job without room in the log ends, and what to do."""
    how = f"the log is full ({used / 1e6:,.1f} of {limit / 1e6:,.1f} MB)"
    what = "the job could not continue" if admitted else f"no new job is admitted above {ADMIT_BELOW:.0%}"
    return (
        f"{how}: {what}. Finished jobs are removed once their outputs are fetched or released. Wait for that, "
        "or raise the limit (nats stream edit LOG --max-bytes=...), then submit the job again"
    )
