"""When a local cluster restarts a nats-server whose disk was full."""

from __future__ import annotations

from headrace.client.settings import SETTINGS
from headrace.client.store_watch import StoreWatch

FULL_BYTES, ROOM_BYTES = SETTINGS.disk_full_bytes, SETTINGS.disk_room_bytes
FAILED = b"[1] [ERR] JetStream failed to store a msg on stream '$G > LOG': write 1.blk: no space left on device\n"
QUIET = b"[1] [INF] Server is ready\n"


def test_a_server_that_never_failed_is_left_alone_however_little_room_there_is() -> None:
    watch = StoreWatch()
    assert [watch.needs_restart(QUIET, free) for free in (1 << 40, ROOM_BYTES, FULL_BYTES, ROOM_BYTES)] == [False] * 4


def test_a_server_that_failed_is_restarted_once_as_soon_as_there_is_room() -> None:
    watch = StoreWatch()
    looks = (FAILED, 0), (b"", ROOM_BYTES - 1), (b"", ROOM_BYTES), (b"", ROOM_BYTES)
    assert [watch.needs_restart(*look) for look in looks] == [False, False, True, False]


def test_a_disk_so_full_that_nothing_can_be_logged_counts_too() -> None:
    watch = StoreWatch()
    assert [watch.needs_restart(b"", FULL_BYTES - 1), watch.needs_restart(b"", ROOM_BYTES)] == [False, True]


def test_a_server_that_fails_with_room_on_its_disk_is_restarted() -> None:
    assert StoreWatch().needs_restart(FAILED, ROOM_BYTES)
