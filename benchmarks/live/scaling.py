"""Instances scaled so that they can be run on one machine: their shape stays, their work and their bytes get a given total."""

from __future__ import annotations

from benchmarks.plans.instances import Instance, Task

WORK_SECONDS = 16.0
"""Of all tasks together: 4 s on each of 4 runners at best."""
TOTAL_BYTES = 64_000_000
"""Of all outputs together."""


def scaled(instance: Instance, seconds: float = WORK_SECONDS, nbytes: int = TOTAL_BYTES) -> Instance:
    """Return the instance with all durations and sizes multiplied, so that they add up to these totals. Totals of 0 stay 0."""
    work = instance.work
    size = sum(sum(task.outputs) for task in instance.tasks)
    slower, larger = seconds / work if work else 0.0, nbytes / size if size else 0.0
    return Instance(
        instance.name,
        tuple(
            Task(task.id, task.seconds * slower, tuple(round(output * larger) for output in task.outputs), task.inputs)
            for task in instance.tasks
        ),
    )
