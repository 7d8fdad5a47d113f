"""A client does not give outputs up that were computed again between two of its looks at the log."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from headrace.client import values
from headrace.client.fetching import Held
from headrace.client.values import has_moved
from headrace.errors import OutputsLost

OUTPUT = 3


class Scene:
    """A job whose only output host h holds. moves_at: the look at which the log says that it was computed again; None: it never was."""

    def __init__(self, moves_at: int | None) -> None:
        self.job = "job"
        self.problems = {"h": "it no longer holds them"}
        self.addresses: dict[str, tuple[str, int]] = {}
        self.looks = 0
        self._moves_at = moves_at
        self.ledger = SimpleNamespace(
            made={OUTPUT: 0}, flag={OUTPUT: 0}, reopened=False, holder=lambda dataset: "h", dataset_name=lambda dataset: f"d{dataset}"
        )

    async def follow_again(self) -> Scene:
        return self

    async def stop(self) -> None:
        pass

    async def fetch(self, held: Mapping[int, Held], addresses: object) -> dict[int, memoryview]:
        """The host has the second attempt only."""
        self.looks += 1
        came = {dataset: memoryview(b"value") for dataset, place in held.items() if place.attempt == 1}
        if self.looks == self._moves_at:
            self.ledger.made[OUTPUT] = 1
        return came


def fetched(scene: Any, monkeypatch: pytest.MonkeyPatch) -> dict[int, memoryview]:
    monkeypatch.setattr(values, "SETTINGS", msgspec.structs.replace(values.SETTINGS, lost_seconds=0.0, fetch_again_seconds=0.0))
    return asyncio.run(values._fetch_all(scene, scene, scene, [OUTPUT]))


@pytest.mark.parametrize("look", [1, 2])
def test_a_new_attempt_is_fetched_before_outputs_count_as_lost(look: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetched(Scene(look), monkeypatch) == {OUTPUT: b"value"}


def test_outputs_that_nobody_computes_again_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputsLost, match=r"d3 of job job can no longer be fetched from h.*h: it no longer holds them"):
        fetched(Scene(None), monkeypatch)


def test_a_dataset_has_moved_if_its_host_or_its_attempt_is_another_one() -> None:
    before = {1: Held("a", 0), 2: Held("b", 0)}
    assert not has_moved(before, before)
    assert not has_moved(before, {1: Held("a", 0)})
    assert has_moved(before, {1: Held("a", 1)})
    assert has_moved(before, {2: Held("c", 0)})
    assert has_moved({}, {2: Held("c", 0)})
