"""The union of all messages in the stream LOG."""

from __future__ import annotations

from headrace_schemas.facts import Events, Published
from headrace_schemas.messages import (
    Assign,
    CancelAsked,
    Due,
    Ended,
    HostJoined,
    HostLost,
    Needed,
    NoRoom,
    Plan,
    Purge,
    Refused,
    Released,
    Reroute,
    Revoke,
    Stranded,
    Submitted,
    TermBegan,
)

LogMessage = (
    Submitted
    | Needed
    | Due
    | Refused
    | Ended
    | Released
    | CancelAsked
    | Stranded
    | NoRoom
    | Purge
    | HostJoined
    | HostLost
    | Plan
    | Assign
    | Revoke
    | Reroute
    | TermBegan
    | Events
    | Published
)
"""The kinds of messages in the stream LOG, told apart by `kind`."""
