"""Under which address a host is found."""

from __future__ import annotations

import pytest

from headrace.worker.addresses import advertised, is_wildcard, outgoing_ip


@pytest.mark.parametrize("listen", ["0.0.0.0:7000", "[::]:0", ":7000"])
def test_every_address(listen: str) -> None:
    assert is_wildcard(listen)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "10.0.0.7:7000", "[::1]:0"])
def test_one_address(listen: str) -> None:
    assert not is_wildcard(listen)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("", "127.0.0.1:41001"),
        ("node7", "node7:41001"),
        ("node7:7000", "node7:7000"),
        ("10.0.0.7", "10.0.0.7:41001"),
        ("fd00::7", "[fd00::7]:41001"),
        ("[fd00::7]:7000", "[fd00::7]:7000"),
    ],
)
def test_what_is_told(setting: str, told: str) -> None:
    assert advertised(setting, ("127.0.0.1", 41001)) == told


@pytest.mark.parametrize("url", ["nats://127.0.0.1:4222", "127.0.0.1", "nats://user:secret@127.0.0.1:1,nats://192.0.2.1:2"])
def test_the_way_to_the_hub(url: str) -> None:
    assert outgoing_ip(url) == "127.0.0.1"
