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
    retry_delay: pause before leading again after the log refused an announcement.
    """

    message_bytes: int = MAX_MESSAGE_BYTES
    linger: float = 0.01
    lease_ttl: float = 5.0
    retry_delay: float = 1.0

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """The defaults: nothing of it needs setting from outside."""
        return cls()
