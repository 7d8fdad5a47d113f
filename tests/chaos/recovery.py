"""Times of recovery, from moments of a run. Pure; all moments in seconds of one clock."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec


class Recovery(msgspec.Struct, frozen=True):
    """Of one fault. standstill: the longest time after it in which no task or dataset was reported as done. end: from the fault to the end
    of the last job. Both in seconds; 0.0 if all jobs had ended before the fault."""

    standstill: float
    end: float


def recovery(fault: float, made: Sequence[float], end: float) -> Recovery:
    """Of a fault at one moment. made: when something was reported as done, in order. end: of the last job.

    >>> recovery(10.0, [9.0, 10.5, 15.5, 15.75], 16.0)
    Recovery(standstill=5.0, end=6.0)
    """
    if end <= fault:
        return Recovery(0.0, 0.0)
    moments = [fault, *(moment for moment in made if fault < moment < end), end]
    standstill = max(after - before for before, after in pairwise(moments))
    return Recovery(round(standstill, 3), round(end - fault, 3))
