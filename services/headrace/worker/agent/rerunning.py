"""A rerun of a record: a new state machine handles its events, and the decisions are compared with the recorded ones."""

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
    """The file is not a record of a host, or it is of a release with other events."""


class Difference(NamedTuple):
    """The first decision that differs. item: its place in the record, from 0. event: the last event before it."""

    item: int
    event: object
    question: str
    recorded: list[object]
    recomputed: list[object]

    def __str__(self) -> str:
        """Return the difference in a few lines. They show only the first action of the answer that differs."""
        both = zip([*self.recorded, "nothing"], [*self.recomputed, "nothing"], strict=False)
        place, (was, found) = next((place, pair) for place, pair in enumerate(both) if _encode(pair[0]) != _encode(pair[1]))
        return (
            f"item {self.item}: {self.question} differs at action {place} (of {len(self.recorded)} recorded, {len(self.recomputed)} "
            f"recomputed)\n  after:      {self.event}\n  recorded:   {was}\n  recomputed: {found}"
        )


class Outcome(NamedTuple):
    """The result of a rerun. events: the number of events that were handled. answers: the number of answers that agreed."""

    header: Header
    events: int
    answers: int
    difference: Difference | None


def items_of(data: bytes) -> Iterator[Item]:
    """Yield the items of a record. An item that is cut off at the end is left out. Raises UnreadableRecord if an item cannot be decoded."""
    start, view = 0, memoryview(data)
    while start + LENGTH.size <= len(data):
        (length,) = LENGTH.unpack_from(data, start)
        start += LENGTH.size
        if start + length > len(data):
            return
        try:
            yield _decoder.decode(view[start : start + length])
        except msgspec.MsgspecError as error:
            raise UnreadableRecord(f"the item at byte {start} cannot be read: {error}. Use the release that wrote the record") from None
        start += length


def rerun(data: bytes) -> Outcome:
    """Run a record again, up to the first decision that differs. Raises UnreadableRecord if the record cannot be read."""
    items = items_of(data)
    header = next(items, None)
    if not isinstance(header, Header):
        raise UnreadableRecord(
            "the file does not begin with the header of a record. Give a file that a worker wrote to its HEADRACE_RECORD folder"
        )
    store: Store[int] = Store(header.capacity, header.address_space)
    agent = Agent(header.settings, header.epoch, store, header.spills, header.now, guarded=True)
    events = answers = 0
    last: object = header
    for place, item in enumerate(items, 1):
        if isinstance(item, Answered | FactsTold):
            recomputed = _answer(agent, item)
            if _encode(recomputed) != _encode(item):
                return Outcome(header, events, answers, Difference(place, last, _question(item), _content(item), _content(recomputed)))
            answers += 1
        elif not isinstance(item, Header):
            with suppress(ValueError, Caught):  # the service ended the sender of this event
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


def _content(item: Answer) -> list[object]:
    content: list[Events] | list[Action] = item.facts if isinstance(item, FactsTold) else item.actions
    return list(content)
