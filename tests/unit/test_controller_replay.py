"""The check of recorded decisions where the log does not say everything: jobs that a controller forgot."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headrace.bus import Entry
from headrace.controller.replay import check
from headrace.controller.state import Controller
from headrace_schemas import Assign, Events, GraphSource, HostJoined, HostLost, LogMessage, Needed, Purge, Released, Submitted
from tests.unit.test_controller_state import spec


class Scene:
    """A log that grows, and the controller that leads, which has what it decides in the log at once."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.controller = Controller(1)

    def lead(self, term: int) -> None:
        """A new controller leads, which has read all of the log."""
        self.controller = Controller(term)
        for entry in self.log:
            self.controller.fold(entry)
        self.controller.decide(len(self.log))

    def tell(self, *messages: LogMessage) -> list[LogMessage]:
        self._append(messages)
        decisions = self.controller.decide(len(self.log))
        self._append(decisions)
        return [*decisions]

    def _append(self, messages: Iterable[LogMessage]) -> None:
        for message in messages:
            self.log.append(Entry(len(self.log) + 1, 0.0, "", message))
            self.controller.fold(self.log[-1])

    def run(self) -> None:
        """A job of two outputs is done, and its outputs are released and dropped."""
        self.tell(HostJoined(at=0, term=1, host="a", epoch=1, address="", runners=1, capacity=1))
        self.tell(Submitted(job="j", n_tasks=2, graph=GraphSource(inline=spec([[], []], [0, 1]))))
        self.tell(Assign(at=0, term=1, job="j", host="a", epoch=1, hosts=["a"], addresses=[], chains=[0, 1], lengths=[1, 1], tasks=[0, 1]))
        self.tell(Events(job="j", host="a", epoch=1, produced=[0, 1], sizes=[9, 9], done=[0, 1]))
        [purge] = self.tell(Released(at=0, term=1, job="j"))
        assert isinstance(purge, Purge)
        assert purge.datasets == [0, 1]


HELD = Events(job="j", host="a", epoch=1, rejoining=True, produced=[1, 0], sizes=[9, 9])
"""A list that is in the log again, after the host has joined."""


def test_a_controller_that_has_forgotten_a_job_may_have_a_host_drop_its_list_again() -> None:
    scene = Scene()
    scene.run()
    scene.lead(2)
    assert scene.tell(HELD) == [], "it knows that the host has dropped them"
    scene.controller.forget("j")
    [purge] = scene.tell(HELD)
    assert purge == Purge(at=len(scene.log) - 1, term=2, job="j", host="a", epoch=1, datasets=[0, 1])
    scene.tell(HELD)
    assert check(scene.log) == []


def test_a_purge_of_anything_but_a_list_is_reported() -> None:
    scene = Scene()
    scene.run()
    scene.lead(2)
    scene.controller.forget("j")
    [purge] = scene.tell(HELD)
    assert isinstance(purge, Purge)
    for wrong in (msgspec.structs.replace(purge, datasets=[0]), msgspec.structs.replace(purge, host="b")):
        log = [*scene.log[:-1], scene.log[-1]._replace(message=wrong)]
        assert [(difference.seq, difference.decision) for difference in check(log)] == [(len(log), wrong)]


def test_a_purge_of_a_list_is_reported_while_outputs_are_kept() -> None:
    scene = Scene()
    scene.run()
    log = [entry for entry in scene.log if not isinstance(entry.message, Released | Purge)]
    at = log[-1].seq + 1
    log += [Entry(at, 0.0, "", HELD), Entry(at + 1, 0.0, "", Purge(at=at, term=2, job="j", host="a", epoch=1, datasets=[0, 1]))]
    assert [difference.seq for difference in check(log)] == [log[-1].seq]


def test_the_words_in_which_tasks_are_needed_again_are_not_compared() -> None:
    """Another release may have chosen others."""
    scene = Scene()
    scene.tell(HostJoined(at=0, term=1, host="a", epoch=1, address="", runners=1, capacity=1))
    scene.tell(Submitted(job="j", n_tasks=2, graph=GraphSource(inline=spec([[], []], [0, 1]))))
    scene.tell(Assign(at=0, term=1, job="j", host="a", epoch=1, hosts=["a"], addresses=[], chains=[0, 1], lengths=[1, 1], tasks=[0, 1]))
    [needed] = scene.tell(HostLost(at=0, term=1, host="a", epoch=1))
    assert isinstance(needed, Needed)
    assert needed.reason
    other = scene.log[-1]._replace(message=msgspec.structs.replace(needed, reason="other words"))
    assert check([*scene.log[:-1], other]) == []
