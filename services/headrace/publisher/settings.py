"""Settings of the publisher. Sizes in bytes, times in seconds."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from headrace_schemas.streams import MAX_MESSAGE_BYTES


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """What the publisher can be told.

    message_bytes: announcements are put together into messages of up to about this size.
    linger: outputs are announced so much later than they come to be: nothing waits for it, and many small jobs are looked at together.
    lease_ttl: how long after the end of this process another may lead. Outputs are announced that much later, nothing else waits for it.
    commits: files that are given their final names at the same time. Most of it is waiting for a file system.
    commit_tries, commit_delay: so often, and so long after one another, a commit is tried that a file system refused: after that the
        output is made again.
    retry_delay: pause before leading again after the log refused an announcement.
    """

    message_bytes: int = MAX_MESSAGE_BYTES
    linger: float = 0.01
    lease_ttl: float = 5.0
    retry_delay: float = 1.0
    commits: int = 8
    commit_tries: int = 3
    commit_delay: float = 0.5

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """The defaults: nothing of it needs setting from outside."""
        return cls()
