"""The performer: it carries out the actions that the agent decided.

Each type of action has one function in `_PERFORM`. An action that fails, at once or later, comes back to the agent as an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from headrace.errors import TOO_LARGE, PublishRefused
from headrace.logs import get_log
from headrace.runner import protocol
from headrace.worker.agent import actions
from headrace.worker.agent.actions import Action, Setback
from headrace.worker.agent.events import ActionFailed, MemoryWanted, RunnerRecalled
from headrace.worker.agent.recalls import RECALL_SECONDS
from headrace.worker.disk_thread import DiskThread
from headrace_schemas import Events
from headrace_shm import Arena, ArenaFull

if TYPE_CHECKING:
    from headrace.runner.status import StatusPage
    from headrace.worker.agent.spans import Spans
    from headrace.worker.agent.state import Agent
    from headrace.worker.links import Links
    from headrace.worker.runners import Runners

log = get_log(__name__)


class Publish(Protocol):
    """Publishes facts into the log."""

    def __call__(self, facts: Events) -> asyncio.Future[int]:
        """Return a future with the sequence in the log, or with the error for which the log refused the facts."""


class Performer:
    """Carries out the actions of one host. wake: is called after every event that follows from an action."""

    def __init__(
        self,
        agent: Agent,
        runners: Runners,
        links: Links,
        page: StatusPage,
        memory: Memory,
        spill_folder: str,
        publish: Publish,
        wake: Callable[[], None],
        spans: Spans | None = None,
    ) -> None:
        self._agent = agent
        self._runners = runners
        self._links = links
        self._page = page
        self._memory = memory
        self._spill_folder = spill_folder
        self._publish = publish
        self._wake = wake
        self._spans = spans
        self._unanswered: dict[asyncio.Future[int], Events] = {}
        """The facts whose publish was not acknowledged yet."""
        self._disk: DiskThread | None = None
        self._loop = asyncio.get_running_loop()
        self._ended = False

    def perform(self, decided: Iterable[Action]) -> None:
        """Carry out actions in their order. If one fails, the others are still carried out."""
        for action in decided:
            try:
                _PERFORM[type(action)](self, action)
            except Exception as error:
                self.failed(action, error)

    def failed(self, action: Action, error: BaseException) -> None:
        """Tell the agent that an action failed. The agent decides what follows."""
        setback = setback_of(error, self._memory.nbytes)
        expected = isinstance(error, OSError | PublishRefused)
        log.error("could not carry out an action", action=_name(action), error=setback.why, exc_info=None if expected else error)
        self._agent.handle(ActionFailed(action, setback))
        self._wake()

    def begin_again(self, runners: Runners, links: Links) -> None:
        """Use the new runners and links of a host that rejoins."""
        self._runners, self._links = runners, links

    def forget_reports(self) -> list[Events]:
        """Return the facts that the log may not have, and forget them. The caller has them reported again."""
        facts = list(self._unanswered.values())
        self._unanswered.clear()
        return facts

    def close(self) -> None:
        """Wait for the disk. The agent gets no events of actions that end later."""
        self._ended = True
        if self._disk is not None:
            self._disk.close()

    # --- runners ------------------------------------------------------------------------------------------------------

    def _to_runner(self, action: actions.ToRunner) -> None:
        frame = action.frame
        prepare = _BEFORE_SENDING.get(type(frame))
        if prepare is not None:
            prepare(self, action.slot, frame)
        self._runners.send(action.slot, frame)

    def _back_grant(self, _: int, frame: protocol.Grant) -> None:
        if frame.offset >= 0:
            self._memory.reserve(frame.offset, self._agent.known.granted_bytes(frame.job, frame.dataset))

    def _back_slab(self, _: int, frame: protocol.GrantSlab) -> None:
        if frame.offset >= 0:
            self._memory.reserve(frame.offset, frame.nbytes)

    def _begin_spans(self, slot: int, frame: protocol.Run) -> None:
        if self._spans is not None:
            self._spans.dispatched(slot, frame)

    def _kill(self, action: actions.KillRunner) -> None:
        self._runners.kill(action.slot)

    def _nudge(self, action: actions.Nudge) -> None:
        self._runners.nudge(action.slot)

    def _recall(self, action: actions.Recall) -> None:
        self._page.recall(action.slot, action.number)
        self._loop.call_later(RECALL_SECONDS, self._recalled, action)

    def _recalled(self, action: actions.Recall) -> None:
        if not self._ended:
            self._agent.handle(RunnerRecalled(action.slot, action.number, self._page.begun(action.slot)))
            self._wake()

    # --- links --------------------------------------------------------------------------------------------------------

    def _link(self, action: Action) -> None:
        self._links.act(action, partial(self.failed, action))

    # --- the disk -----------------------------------------------------------------------------------------------------

    def _use_disk(self, action: actions.Spill | actions.Restore | actions.Unspill | actions.SendSpilled) -> None:
        if isinstance(action, actions.Restore):
            self._memory.reserve(action.offset, action.nbytes)
        if self._disk is None:
            self._disk = DiskThread(self._agent, self._memory.arena, self._spill_folder, self._wake, self._send_data, self.failed)
        self._disk.act(action)

    def _send_data(self, action: actions.SendSpilled, data: memoryview) -> None:
        self._links.send_data(action, data)

    def _warn(self, action: actions.Warn) -> None:
        log.warning(action.text)

    # --- the log ------------------------------------------------------------------------------------------------------

    def _report(self, action: actions.Report) -> None:
        if self._spans is not None and action.events.failed:
            self._spans.failed(action.events)
        answer = self._publish(action.events)
        self._unanswered[answer] = action.events
        answer.add_done_callback(partial(self._reported, action))

    def _reported(self, action: actions.Report, done: asyncio.Future[int]) -> None:
        self._unanswered.pop(done, None)
        error = None if done.cancelled() else done.exception()
        if error is not None and not self._ended:
            self.failed(action, error)


class Memory:
    """The arena, and the agent, which chooses the free pages to release when the folder of shared memory is full."""

    def __init__(self, arena: Arena, agent: Agent) -> None:
        self.arena = arena
        self._agent = agent

    @property
    def nbytes(self) -> int:
        """The bytes of memory that the arena uses."""
        return self.arena.backed

    def reserve(self, offset: int, nbytes: int) -> None:
        """Allocate memory for a range of the arena. If the folder is full, free pages elsewhere in the arena are released first.

        Raises ArenaFull if the folder has no room even then.
        """
        try:
            self.arena.reserve(offset, nbytes)
        except ArenaFull:
            self.give_back(self._agent.memory.store.used)
            self.arena.reserve(offset, nbytes)

    def give_back(self, target: int) -> None:
        """Give free memory back to the system, so that the arena has `target` bytes at most, as far as that goes."""
        self._agent.handle(MemoryWanted(target))
        for start, length in self._agent.memory.trimmed:
            self.arena.release_pages(start, length)


def setback_of(error: BaseException, memory: int) -> Setback:
    """Convert an error to an event for the agent. memory: the bytes of memory that the arena uses."""
    why = str(error) if isinstance(error, OSError | PublishRefused) else f"{type(error).__name__}: {error}"
    if isinstance(error, ArenaFull):
        return Setback(why, memory)
    return Setback(why, final=isinstance(error, PublishRefused) and error.code in TOO_LARGE)


def _name(action: Action) -> str:
    """Describe an action for the log: its type and its target, without data."""
    whom = [f"{name}={getattr(action, name)}" for name in ("slot", "host", "peer", "key") if hasattr(action, name)]
    frame = getattr(action, "frame", None)
    return " ".join([type(action).__name__, *whom, *([] if frame is None else [type(frame).__name__])])


_BEFORE_SENDING: dict[type[Any], Callable[[Performer, int, Any], None]] = {
    protocol.Grant: Performer._back_grant,
    protocol.GrantSlab: Performer._back_slab,
    protocol.Run: Performer._begin_spans,
}
"""The function to call before a frame of each type is sent to a runner."""

_PERFORM: dict[type[Any], Callable[[Performer, Any], None]] = {
    actions.ToRunner: Performer._to_runner,
    actions.KillRunner: Performer._kill,
    actions.Nudge: Performer._nudge,
    actions.Recall: Performer._recall,
    actions.Connect: Performer._link,
    actions.Disconnect: Performer._link,
    actions.DropPeer: Performer._link,
    actions.ToHost: Performer._link,
    actions.ToPeer: Performer._link,
    actions.SendBlock: Performer._link,
    actions.Spill: Performer._use_disk,
    actions.Restore: Performer._use_disk,
    actions.Unspill: Performer._use_disk,
    actions.SendSpilled: Performer._use_disk,
    actions.Warn: Performer._warn,
    actions.Report: Performer._report,
}
"""The function for each type of action."""
