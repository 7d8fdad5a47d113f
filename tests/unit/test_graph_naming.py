"""Names in messages, for people."""

from __future__ import annotations

from headrace.graph.naming import NAME_CHARACTERS, some_datasets, some_tasks
from headrace.graph.topology import Topology
from headrace_schemas import FunctionSpec, GraphSpec, Needed, Purge
from tests.unit.controller_world import World

FUNCTION = FunctionSpec(name="f", module="m", qualname="f")


def graph(**columns: object) -> GraphSpec:
    return GraphSpec(name="g", n_tasks=5, shape_hash="", content_hash="", functions=[FUNCTION], function=[0] * 5, **columns)  # type: ignore[arg-type]


def test_the_first_names_and_how_many_more() -> None:
    spec = graph(named=[1], names=["load 2t"])
    assert some_tasks(spec, [0, 1]) == "f-0, load 2t"
    assert some_tasks(spec, [0, 1, 2, 3, 4]) == "f-0, load 2t, f-2 and 2 more"
    assert some_tasks(spec, [0, 1, 2], 500) == "f-0, load 2t, f-2 and 497 more"
    assert some_tasks(spec, []) == ""


def test_long_names_are_cut() -> None:
    assert some_tasks(graph(named=[0], names=["x" * 300]), [0]) == "x" * NAME_CHARACTERS + "…"


def test_datasets_of_a_task_with_several() -> None:
    spec = graph(n_outputs=[1, 2, 1, 1, 1])
    assert some_datasets(spec, [0, 2, 3], Topology.from_spec(spec)) == "f-0, f-1[1], f-2"


def test_decisions_have_the_names_of_what_they_are_about() -> None:
    world = World(3, 8, 2, lose=1)
    world.run()
    messages = [entry.message for entry in world.log]
    needed = next(message for message in messages if isinstance(message, Needed))
    purge = next(message for message in messages if isinstance(message, Purge))
    assert needed.about == some_tasks(world.spec, needed.tasks)
    assert purge.about == some_datasets(world.spec, purge.datasets, Topology.from_spec(world.spec))
