"""The flight recorder: a file with the events of a host's state machine and its decisions, which `headrace replay --record` runs again.

A record begins with a `Header`, which says how the machine was made. The events follow in their order, and between them the answers of the
machine. Each item is a length of 4 bytes and a MessagePack struct. The machine is pure, so the same events lead to the same answers. If
they do not, the code has changed, or it is not as pure as it should be.

`worker/record_file.py` writes the file.
"""

from __future__ import annotations

import struct
from importlib.metadata import version
from typing import Protocol

import msgspec

from headrace.worker.agent.actions import Action
from headrace.worker.agent.events import Event
from headrace.worker.agent.state import Agent
from headrace.worker.settings import Settings
from headrace_schemas import Events
from headrace_shm import Store

LENGTH = struct.Struct("<I")
_encode = msgspec.msgpack.Encoder().encode


class Header(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The first item: how the machine was made, and by which release of Headrace."""

    release: str
    settings: Settings
    epoch: int
    capacity: int
    """Bytes of the store."""
    address_space: int
    """Bytes of the store's arena."""
    spills: bool
    now: float


class Answered(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A decision of the machine. question: the method of `Agent` that was called."""

    question: str
    actions: list[Action]


class FactsTold(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The facts that `Agent.all_reports` returned."""

    facts: list[Events]


Answer = Answered | FactsTold
Item = Header | Answered | FactsTold | Event


def packed(item: Item) -> bytes:
    """Return an item in the format of the file."""
    body = _encode(item)
    return LENGTH.pack(len(body)) + body


class Record(Protocol):
    """The place to which items are written."""

    def write(self, item: Item) -> None:
        """Write an item."""

    def close(self) -> None:
        """Finish the record. Nothing may be written afterwards."""


class RecordedAgent(Agent):
    """An agent whose events and decisions are all recorded."""

    def __init__(
        self,
        record: Record,
        settings: Settings,
        epoch: int,
        store: Store[int],
        spills: bool = False,
        now: float = 0.0,
        *,
        guarded: bool = True,
    ) -> None:
        super().__init__(settings, epoch, store, spills, now, guarded=guarded)
        self._record = record
        record.write(Header(version("headrace"), settings, epoch, store.capacity, store.address_space, spills, now))

    def handle(self, event: Event) -> None:
        """Record an event, and handle it."""
        self._record.write(event)
        super().handle(event)

    def take(self) -> list[Action]:
        """Return the actions that follow from the events, and record them."""
        return self._answered("take", super().take())

    def reports_due(self) -> list[Action]:
        """Return the facts to publish now, and record them."""
        return self._answered("reports_due", super().reports_due())

    def all_reports(self) -> list[Events]:
        """Return all facts that were not published, and record them."""
        facts = super().all_reports()
        self._record.write(FactsTold(facts))
        return facts

    def _answered(self, question: str, actions: list[Action]) -> list[Action]:
        self._record.write(Answered(question, actions))
        return actions

    def close(self) -> None:
        """Close the record."""
        self._record.close()
