"""The secret of the data plane: what hosts and clients prove to one another that they know."""

from __future__ import annotations

import secrets

from headrace.bus.bus import Bus
from headrace.errors import WrongRevision
from headrace_schemas.streams import DATA_KEY, SECRETS

_DATA_KEY_BYTES = 32


async def ensure_data_key(bus: Bus) -> bytes:
    """The secret of the data plane, made by whoever comes first. Kept in the bucket `secrets` as hexadecimal digits."""
    bucket = bus.kv(SECRETS.name)
    made = secrets.token_hex(_DATA_KEY_BYTES).encode()
    try:
        await bucket.create(DATA_KEY, made)
    except WrongRevision:
        entry = await bucket.get(DATA_KEY)
        made = entry.value if entry is not None else made
    return bytes.fromhex(made.decode())
