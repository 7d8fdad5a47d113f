"""Tells a state machine the events of a record again, and compares its decisions with the recorded ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import msgspec

from headrace.errors import HeadraceError
from headrace.worker.agent.actions import Action
from headrace.worker.agent.guard import Caught
from headrace.worker.agent.recording import LENGTH, Answer, Answered, FactsTold, Header, Item
from headrace.worker.agent.state import Agent
from headrace_schemas import Events
from headrace_shm import Store

_decoder: msgspec.msgpack.Decoder[Item] = msgspec.msgpack.Decoder(Item)
_encode = msgspec.msgpack.Encoder().encode


class UnreadableRecord(HeadraceError):
    """A file is no record of a host, or of a release with other events."""


class Difference(NamedTuple):
    """The first decision that differs. item: its place in the record, from 0. event: the last event before it."""

    item: int
    event: object
    question: str
    recorded: list[object]
    recomputed: list[object]

    def __str__(self) -> str:
        """Return the difference in some lines: only the first item of the answer that differs is shown."""
        both = zip([*self.recorded, "nothing"], [*self.recomputed, "nothing"], strict=False)
        place, (was, found) = next((place, pair) for place, pair in enumerate(both) if _encode(pair[0]) != _encode(pair[1]))
        return (
            f"item {self.item}: {self.question} differs at action {place} (of {len(self.recorded)} recorded, {len(self.recomputed)} "
            f"recomputed)\n  after:      {self.event}\n  recorded:   {was}\n  recomputed: {found}"
        )


class Outcome(NamedTuple):
    """What a rerun found. events: how many were told. answers: how many answers agreed."""

    header: Header
    events: int
    answers: int
    difference: Difference | None


def items_of(data: bytes) -> Iterator[Item]:
    """Yield the items of a record. One that was cut off at the end is left out. Raises UnreadableRecord for anything else."""
    start, view = 0, memoryview(data)
    while start + LENGTH.size <= len(data):
        (length,) = LENGTH.unpack_from(data, start)
        start += LENGTH.size
        if start + length > len(data):
            return
        try:
            yield _decoder.decode(view[start : start + length])
        except msgspec.MsgspecError as error:
            raise UnreadableRecord(f"the item at byte {start} cannot be read: {error}; use the release that wrote the record") from None
        start += length


def rerun(data: bytes) -> Outcome:
    """Run a record again, up to the first decision that differs. Raises UnreadableRecord."""
    items = items_of(data)
    header = next(items, None)
    if not isinstance(header, Header):
        raise UnreadableRecord("the file does not begin with the header of a record: give a file that HEADRACE_RECORD made")
    store: Store[int] = Store(header.capacity, header.address_space)
    agent = Agent(header.settings, header.epoch, store, header.spills, header.now, guarded=True)
    events = answers = 0
    last: object = header
    for place, item in enumerate(items, 1):
        if isinstance(item, Answered | FactsTold):
            recomputed = _answer(agent, item)
            if _encode(recomputed) != _encode(item):
                return Outcome(header, events, answers, Difference(place, last, _question(item), _told(item), _told(recomputed)))
            answers += 1
        elif not isinstance(item, Header):
            with suppress(ValueError, Caught):  # the service ended the sender
                agent.handle(item)
            events, last = events + 1, item
    return Outcome(header, events, answers, None)


def _answer(agent: Agent, item: Answer) -> Answer:
    if isinstance(item, FactsTold):
        return FactsTold(agent.all_reports())
    actions: list[Action] = agent.take() if item.question == "take" else agent.reports_due()
    return Answered(item.question, actions)


def _question(item: Answer) -> str:
    return "all_reports" if isinstance(item, FactsTold) else item.question


def _told(item: Answer) -> list[object]:
    told: list[Events] | list[Action] = item.facts if isinstance(item, FactsTold) else item.actions
    return list(told)
