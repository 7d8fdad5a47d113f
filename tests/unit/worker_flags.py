"""What an agent remembers so that it need not look each time, held against what it would see."""

from __future__ import annotations

from headrace.worker.agent.state import Agent


def check_flags(agent: Agent) -> None:
    """Every flag that spares the agent a look is set where that look would find something."""
    runners = agent.runners
    assert runners.queued or not any(len(runner.outstanding) > 1 for runner in runners.slots)
    assert runners.batched or not any(runner.batches for runner in runners.slots)
    alone = runners._alone
    assert alone.in_use or not (alone._waiting or alone._running or alone.kept)
    for job in agent.jobs.values():
        assert job.n_live == len(job.live_chains())
        at_runners = [segment.chain for runner in runners.slots for segment in runner.outstanding.values()]
        kept = [chain for runner in runners.slots for chain in runner.kept]
        assert job.n_live or not any(chain.job is job for chain in [*at_runners, *kept]), "a job without chains has some at a runner"
