"""Responses to actions that could not be carried out. Every kind of action has one, so that nothing waits for ever.

| the action that failed | the response |
|---|---|
| hand work to a runner | its tasks fail as if their runner had died, and are tried again; the runner is replaced |
| send a runner anything else | the runner is replaced, and its segments run again |
| reserve memory for a granted block | the claim waits until something is free; after that, the task fails, see `shortage` |
| kill a runner | the host tries again at every tick |
| nudge a runner | nothing: its results come at the end of its task |
| recall segments from a runner | the runner keeps them |
| open or close a link to a host | the host counts as unreachable for now, and the link is tried again |
| send a frame to a host | the link to it is closed, and opened again |
| send a frame to a peer | its link is closed: the peer opens another one and asks again |
| read a dataset from disk | the dataset is reported as gone, and is made again |
| write a dataset to disk | it stays in memory, and nothing is written for a while |
| delete a dataset from disk | nothing: its space is free when this service ends |
| write to the log of this host | nothing |
| report facts | the host reports them again: at once in smaller parts if they are too large, otherwise a moment later |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headrace.runner import protocol
from headrace.worker.agent import actions
from headrace.worker.agent.actions import Action, Setback
from headrace.worker.agent.parts import in_parts
from headrace_schemas import TaskError

if TYPE_CHECKING:
    from headrace.worker.agent.state import Agent


def answer(agent: Agent, action: Action, setback: Setback) -> None:
    """Respond to an action that could not be carried out."""
    agent.counts.setbacks[type(action).__name__] += 1
    ANSWERS[type(action)](agent, action, setback)


# --- runners ----------------------------------------------------------------------------------------------------------


def _to_runner(agent: Agent, action: actions.ToRunner, setback: Setback) -> None:
    slot, frame = action.slot, action.frame
    if isinstance(frame, protocol.GrantSlab) and frame.offset >= 0:
        agent.execution.slab_refused(slot, frame.block, setback.memory)
        agent.act(actions.ToRunner(slot, protocol.GrantSlab(0, protocol.NEVER, 0)))
    elif isinstance(frame, protocol.Grant) and frame.offset >= 0 and setback.memory is not None:
        agent.execution.unbacked(slot, frame, setback.memory)
    else:
        text = f"host {agent.host} could not hand this task to a runner: {setback.why}"
        if isinstance(frame, protocol.Run):
            agent.chains.fail_segments(slot, frame.job, frame.segments, text)
        elif isinstance(frame, protocol.OpenJob):
            agent.chains.fail_segments(slot, frame.job, list(agent.runners.slots[slot].outstanding), text)
        agent.act(actions.KillRunner(slot))


def _kill(agent: Agent, action: actions.KillRunner, setback: Setback) -> None:
    agent.execution.kill_again(action.slot)


def _recall(agent: Agent, action: actions.Recall, setback: Setback) -> None:
    agent.runners.not_recalled(action.slot, action.number)


def _nothing(agent: Agent, action: Action, setback: Setback) -> None:
    """Do nothing, because nothing waits for this action."""


# --- links ------------------------------------------------------------------------------------------------------------


def _link(agent: Agent, action: actions.Connect | actions.Disconnect, setback: Setback) -> None:
    agent.fetching.host_unreachable(action.host)


def _to_host(agent: Agent, action: actions.ToHost, setback: Setback) -> None:
    agent.act(actions.Disconnect(action.host))


def _to_peer(agent: Agent, action: actions.ToPeer, setback: Setback) -> None:
    agent.act(actions.DropPeer(action.peer))


def _drop_peer(agent: Agent, action: actions.DropPeer, setback: Setback) -> None:
    agent.peers.left(action.peer)


def _send_block(agent: Agent, action: actions.SendBlock, setback: Setback) -> None:
    agent.act(actions.DropPeer(action.peer))
    agent.peers.sent(action.peer, action.frame, action.nbytes, action.block)


def _send_spilled(agent: Agent, action: actions.SendSpilled, setback: Setback) -> None:
    agent.unreadable(action.key)
    agent.peers.sent(action.peer, action.frame, action.nbytes)


# --- the disk ---------------------------------------------------------------------------------------------------------


def _spill(agent: Agent, action: actions.Spill, setback: Setback) -> None:
    agent.spilled(action.key, False, setback.why)


def _restore(agent: Agent, action: actions.Restore, setback: Setback) -> None:
    if setback.memory is None:
        agent.restored(action.key, False)
    else:
        agent.unread(action.key, setback.memory)


# --- the log ----------------------------------------------------------------------------------------------------------


def _report(agent: Agent, action: actions.Report, setback: Setback) -> None:
    """Report facts again that the log did not take. A fact that is too large even alone fails its task, so that the client sees why."""
    if not setback.final:
        agent.reporting.again(action)
        return
    parts = in_parts(action.events)
    if parts:
        for part in parts:
            agent.act(actions.Report(part))
        return
    job = agent.jobs.get(action.events.job)
    events, failed = action.events, action.events.failed
    dataset = next(iter([*events.produced, *events.value_ids, *events.metadata_ids, *(each.dataset for each in events.written)]), -1)
    task = failed[0].task if failed else job.producer[dataset] if job is not None and dataset >= 0 else -1
    if job is not None and task >= 0:
        attempt = failed[0].attempt if failed else job.attempts.get(task, 0)
        text = f"host {agent.host} could not report on this task: {setback.why}"
        agent.chains.fail_task(job, TaskError(task=task, attempt=attempt, reason="too_large", error=text))
    else:
        agent.reporting.again(action)


ANSWERS: dict[type[Any], Callable[[Agent, Any, Setback], None]] = {
    actions.ToRunner: _to_runner,
    actions.KillRunner: _kill,
    actions.Nudge: _nothing,
    actions.Recall: _recall,
    actions.Connect: _link,
    actions.Disconnect: _link,
    actions.DropPeer: _drop_peer,
    actions.ToHost: _to_host,
    actions.ToPeer: _to_peer,
    actions.SendBlock: _send_block,
    actions.SendSpilled: _send_spilled,
    actions.Spill: _spill,
    actions.Restore: _restore,
    actions.Unspill: _nothing,
    actions.Warn: _nothing,
    actions.Report: _report,
}
"""The function that responds to each kind of action."""
