"""The handler of each kind of event. It passes the event to the part of the agent that it concerns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headrace.worker.agent import events, setbacks
from headrace.worker.agent.guard import Caught

if TYPE_CHECKING:
    from headrace.worker.agent.state import Agent


def _rejoined(agent: Agent, event: events.Rejoined) -> None:
    agent.rejoin(event.epoch)
    agent.intake.hear(())  # messages that waited behind the assignment that the new epoch dropped


def _address_known(agent: Agent, event: events.AddressKnown) -> None:
    agent.sources.address = event.address


# --- the log --------------------------------------------------------------------------------------------------------------


def _log_read(agent: Agent, event: events.LogRead) -> None:
    agent.intake.hear(event.messages)


def _assignment_resumed(agent: Agent, event: events.AssignmentResumed) -> None:
    agent.intake.go_on()


def _log_rewound(agent: Agent, event: events.LogRewound) -> None:
    agent.assignments.log_rewound(event.unknown)


# --- runners --------------------------------------------------------------------------------------------------------------


def _runner_started(agent: Agent, event: events.RunnerStarted) -> None:
    agent.execution.runner_started(event.slot)


def _runner_sent(agent: Agent, event: events.RunnerSent) -> None:
    slot, handlers = event.slot, agent.execution.handlers
    for frame in event.frames:
        try:
            handlers[type(frame)](slot, frame)
        except ValueError:  # the runner broke the protocol: the service replaces it
            raise
        except Exception as error:
            agent.guard.caught(event.kind, error, agent.known.called(getattr(frame, "job", -1)).get("job", ""), type(frame).__name__)
            raise Caught(error) from error


def _runner_died(agent: Agent, event: events.RunnerDied) -> None:
    agent.execution.runner_died(event.slot, event.task, event.code, event.pid, event.shortage)


def _runner_recalled(agent: Agent, event: events.RunnerRecalled) -> None:
    agent.chains.recalled(event.slot, event.number, event.begun)


def _executing(agent: Agent, event: events.Executing) -> None:
    agent.execution.executing(event.tasks)


# --- hosts ----------------------------------------------------------------------------------------------------------------


def _host_connected(agent: Agent, event: events.HostConnected) -> None:
    agent.fetching.host_connected(event.host, event.epoch)


def _host_unreachable(agent: Agent, event: events.HostUnreachable) -> None:
    agent.fetching.host_unreachable(event.host)


def _links_due(agent: Agent, event: events.LinksDue) -> None:
    agent.fetching.retry_links()


def _values_received(agent: Agent, event: events.ValuesReceived) -> None:
    agent.fetching.values_received(event.host, event.frame, event.payload)


def _offered(agent: Agent, event: events.Offered) -> None:
    agent.fetching.offered(event.host, event.frame)


def _data_arriving(agent: Agent, event: events.DataArriving) -> None:
    agent.fetching.receiving(event.host, event.frame, event.nbytes)


def _data_arrived(agent: Agent, event: events.DataArrived) -> None:
    agent.fetching.received(event.host, event.frame, event.nbytes)


def _data_unbacked(agent: Agent, event: events.DataUnbacked) -> None:
    agent.fetching.no_memory(event.host, event.frame, event.memory)


def _relayed(agent: Agent, event: events.Relayed) -> None:
    agent.fetching.relayed(event.host, event.frame)


def _datasets_gone(agent: Agent, event: events.DatasetsGone) -> None:
    agent.fetching.gone(event.host, event.frame)


# --- peers ----------------------------------------------------------------------------------------------------------------


def _peer_came(agent: Agent, event: events.PeerCame) -> None:
    agent.peers.came(event.peer, event.host)


def _wanted(agent: Agent, event: events.Wanted) -> None:
    agent.peers.wanted(event.peer, event.frame)


def _granted(agent: Agent, event: events.Granted) -> None:
    agent.peers.granted(event.peer, event.frame)


def _unwanted(agent: Agent, event: events.Unwanted) -> None:
    agent.peers.unwanted(event.peer, event.frame)


def _bytes_sent(agent: Agent, event: events.BytesSent) -> None:
    agent.peers.sent(event.peer, event.frame, event.nbytes, event.block)


def _peer_left(agent: Agent, event: events.PeerLeft) -> None:
    agent.peers.left(event.peer)


# --- memory and disk, and actions -----------------------------------------------------------------------------------------


def _spilled(agent: Agent, event: events.Spilled) -> None:
    agent.spilled(event.key, True)


def _restored(agent: Agent, event: events.Restored) -> None:
    agent.restored(event.key, True)


def _memory_wanted(agent: Agent, event: events.MemoryWanted) -> None:
    agent.memory.trim(event.target)


def _action_failed(agent: Agent, event: events.ActionFailed) -> None:
    setbacks.answer(agent, event.action, event.setback)


def _clock(agent: Agent, event: events.Clock) -> None:
    agent.runners.now = event.now
    agent.memory.clock(event.now)


def _tick(agent: Agent, event: events.Tick) -> None:
    agent.tick(event.now, event.executing)


HANDLERS: dict[type[Any], Callable[[Agent, Any], None]] = {
    events.Clock: _clock,
    events.Tick: _tick,
    events.Rejoined: _rejoined,
    events.AddressKnown: _address_known,
    events.LogRead: _log_read,
    events.AssignmentResumed: _assignment_resumed,
    events.LogRewound: _log_rewound,
    events.RunnerStarted: _runner_started,
    events.RunnerSent: _runner_sent,
    events.RunnerDied: _runner_died,
    events.RunnerRecalled: _runner_recalled,
    events.Executing: _executing,
    events.HostConnected: _host_connected,
    events.HostUnreachable: _host_unreachable,
    events.LinksDue: _links_due,
    events.ValuesReceived: _values_received,
    events.Offered: _offered,
    events.DataArriving: _data_arriving,
    events.DataArrived: _data_arrived,
    events.DataUnbacked: _data_unbacked,
    events.Relayed: _relayed,
    events.DatasetsGone: _datasets_gone,
    events.PeerCame: _peer_came,
    events.Wanted: _wanted,
    events.Granted: _granted,
    events.Unwanted: _unwanted,
    events.BytesSent: _bytes_sent,
    events.PeerLeft: _peer_left,
    events.Spilled: _spilled,
    events.Restored: _restored,
    events.MemoryWanted: _memory_wanted,
    events.ActionFailed: _action_failed,
}
"""The handler of each kind of event."""


def job_of(agent: Agent, event: events.Event) -> str:
    """Return the job that an event names; empty if it names none."""
    if isinstance(event, events.RunnerDied):
        return agent.known.called(*event.task).get("job", "") if event.task is not None else ""
    return getattr(getattr(event, "frame", None), "job", "")
