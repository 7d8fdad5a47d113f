"""The secret of the data plane, by which hosts and clients authenticate one another."""

from __future__ import annotations

import contextlib
import secrets

from headrace.bus.bus import Bus
from headrace.errors import WrongRevision
from headrace.logs import get_log
from headrace_schemas.streams import DATA_KEY, SECRETS

log = get_log(__name__)

_DATA_KEY_BYTES = 32


async def ensure_data_key(bus: Bus) -> bytes:
    """Return the secret of the data plane, and create it if it does not exist.

    It is stored in the bucket `secrets` as hexadecimal digits. A value of another size is replaced, because nobody can have used it.
    """
    bucket = bus.kv(SECRETS.name)
    made = secrets.token_hex(_DATA_KEY_BYTES).encode()
    while True:
        entry = await bucket.get(DATA_KEY)
        key = read_data_key(entry.value) if entry is not None else b""
        if key:
            return key
        if entry is not None:
            log.error("the key of the data plane is invalid, and is replaced", bucket=SECRETS.name, key=DATA_KEY)
        with contextlib.suppress(WrongRevision):  # another process created it
            if entry is None:
                await bucket.create(DATA_KEY, made)
            else:
                await bucket.update(DATA_KEY, made, entry.revision)


def read_data_key(value: bytes) -> bytes:
    """Decode the stored secret; nothing if it is invalid."""
    try:
        key = bytes.fromhex(value.decode())
    except ValueError:
        return b""
    return key if len(key) == _DATA_KEY_BYTES else b""
