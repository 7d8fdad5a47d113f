"""A client asks a host for values and processes the answers, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytest

from headrace.client import fetching
from headrace.client.fetching import Delivery, Fetcher, Held, by_host
from headrace.client.relayed import Routes
from headrace.client.settings import Settings
from headrace.link import Data, Frame, Gone, Grant, Offer, Values, Want, split_address
from headrace.values import decode, encode
from headrace.values.layout import ALIGNMENT
from headrace.values.memory import aligned_memory


class Recorder:
    """Stands in for a link: keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[Frame] = []

    def send(self, frame: Frame) -> None:
        self.sent.append(frame)


def run(wanted: dict[int, int], play: Any) -> Delivery:
    async def session() -> Delivery:
        delivery = Delivery("j1", wanted)
        play(delivery, Recorder())
        return delivery

    return asyncio.run(session())


def test_everything_is_asked_for_at_once_with_its_attempts() -> None:
    def play(delivery: Delivery, link: Any) -> None:
        delivery.link_opened(link)
        assert link.sent == [Want("j1", [4, 9], [0, 2])]
        assert not delivery.over.done()

    run({4: 0, 9: 2}, play)


def test_offers_are_granted_and_received_in_place() -> None:
    array = np.arange(1000.0)
    encoded = encode(array).tobytes()

    def play(delivery: Delivery, link: Any) -> None:
        delivery.frame_received(link, Offer("j1", [4, 5], [0, 0], [len(encoded), 10]), memoryview(b""))
        assert link.sent == [Grant("j1", [4])]
        data = Data("j1", 4, 0)
        memory = delivery.data_sink(link, data, len(encoded))
        assert memory is not None
        memory[:] = encoded
        delivery.frame_received(link, data, memory)
        assert delivery.over.done()

    value = decode(run({4: 0}, play).values[4])
    assert np.array_equal(value, array)
    assert not value.flags.writeable


def test_small_values_outlive_the_frame_they_came_in() -> None:
    payload = bytearray(encode("a").tobytes() + encode("bc").tobytes())
    lengths = [len(encode("a").tobytes()), len(encode("bc").tobytes())]

    def play(delivery: Delivery, link: Any) -> None:
        delivery.frame_received(link, Values("j1", [1, 2], [0, 0], lengths), memoryview(payload))
        payload[:] = bytes(len(payload))

    delivery = run({1: 0, 2: 0}, play)
    assert [decode(delivery.values[n]) for n in (1, 2)] == ["a", "bc"]


def test_what_is_gone_or_cut_off_is_missing_and_waited_for_no_longer() -> None:
    def play(delivery: Delivery, link: Any) -> None:
        delivery.frame_received(link, Gone("j1", [1]), memoryview(b""))
        assert not delivery.over.done()
        delivery.link_closed(link, "the host died")
        assert delivery.over.done()

    assert run({1: 0, 2: 0}, play).values == {}


def test_memory_is_given_only_for_what_was_asked_for() -> None:
    def play(delivery: Delivery, link: Any) -> None:
        assert delivery.data_sink(link, Data("j1", 8, 0), 100) is None

    run({4: 0}, play)


def test_memory_is_aligned_as_the_encoding_expects() -> None:
    for nbytes in (1, 100, 4096, 1 << 20):
        memory = aligned_memory(nbytes)
        assert memory.nbytes == nbytes
        assert np.frombuffer(memory, dtype=np.uint8).ctypes.data % ALIGNMENT == 0


def test_each_host_is_asked_for_what_it_holds() -> None:
    assert by_host({1: Held("a", 0), 2: Held("b", 1), 3: Held("a", 2)}) == {"a": {1: 0, 3: 2}, "b": {2: 1}}


@pytest.mark.parametrize(("text", "parts"), [("10.0.0.1:7000", ("10.0.0.1", 7000)), ("[::1]:5", ("::1", 5))])
def test_addresses(text: str, parts: tuple[str, int]) -> None:
    assert split_address(text) == parts


def test_an_address_without_a_port_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.1"):
        split_address("10.0.0.1")


class Unheard(Fetcher):
    """Asks a host that never answers."""

    def __init__(self, held: list[bool]) -> None:
        super().__init__("j1", "client", b"", cast(Any, None), Routes())
        self.asked: list[tuple[str, dict[int, int]]] = []

        async def still(host: str, wanted: Mapping[int, int]) -> bool:
            self.asked.append((host, dict(wanted)))
            return held.pop(0)

        self.still = still

    async def _relayed(self, host: str, wanted: Mapping[int, int]) -> dict[int, memoryview]:
        return await asyncio.get_running_loop().create_future()


def test_a_silent_host_is_waited_for_as_long_as_it_holds_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "SETTINGS", Settings(quiet_seconds=0.001))

    async def session() -> None:
        delivery = Delivery("j1", {4: 0, 9: 2})
        delivery.frame_received(cast(Any, Recorder()), Gone("j1", [4]), memoryview(b""))
        fetcher = Unheard([True, True, False])
        await fetcher._while_held(delivery.over, "h", delivery)
        assert fetcher.asked == [("h", {9: 2})] * 3
        assert "h" in fetcher.problems

    asyncio.run(asyncio.wait_for(session(), 10))


def test_so_it_is_through_the_publisher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "SETTINGS", Settings(quiet_seconds=0.001))

    async def session() -> None:
        fetcher = Unheard([True, False])
        fetcher._routes.unreachable(("h", 1))
        assert await fetcher.fetch({4: Held("h", 0)}, {"h": ("h", 1)}) == {}
        assert fetcher.asked == [("h", {4: 0})] * 2

    asyncio.run(asyncio.wait_for(session(), 10))
