"""Random graphs for tests of plans."""

from __future__ import annotations

from hypothesis import strategies as st

from benchmarks.plans.instances import Input, Instance, Task


@st.composite
def instances(draw: st.DrawFn, most_tasks: int) -> Instance:
    """Random graphs of tasks with up to two outputs each, some of which take no time or hold no bytes."""
    tasks: list[Task] = []
    for index in range(draw(st.integers(1, most_tasks))):
        made = [Input(task, output) for task in range(index) for output in range(len(tasks[task].outputs))]
        inputs = draw(st.lists(st.sampled_from(made), unique=True, max_size=4)) if made else []
        outputs = draw(st.lists(st.integers(0, 40), max_size=2))
        tasks.append(Task(str(index), draw(st.integers(0, 20)) / 4, tuple(outputs), tuple(inputs)))
    return Instance("random", tuple(tasks))
