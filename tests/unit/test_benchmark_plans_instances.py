"""Readers of published task graphs: Estee archives and WfFormat files become instances, and damaged files a clear error."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.plans.instances import Input, Instance, Task, UnreadableInstance, read


def estee(path: Path, graphs: dict[str, list[dict[str, Any]]]) -> Path:
    table = {
        "graph_name": {str(index): name for index, name in enumerate(graphs)},
        "graph": {str(index): json.dumps(tasks) for index, tasks in enumerate(graphs.values())},
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("graphs.json", json.dumps(table))
    return path


def estee_task(seconds: float, sizes: list[float], inputs: list[list[int]]) -> dict[str, Any]:
    return {"d": seconds, "cpus": 1, "outputs": [{"s": size, "e_s": size} for size in sizes], "inputs": inputs}


def workflow(tasks: list[dict[str, Any]], sizes: dict[str, int], seconds: dict[str, float], version: str = "1.5") -> str:
    specification = {"tasks": tasks, "files": [{"id": name, "sizeInBytes": size} for name, size in sizes.items()]}
    execution = {"tasks": [{"id": name, "runtimeInSeconds": took} for name, took in seconds.items()]}
    return json.dumps({"name": "w", "schemaVersion": version, "workflow": {"specification": specification, "execution": execution}})


def wf_task(name: str, parents: list[str], takes: list[str], makes: list[str]) -> dict[str, Any]:
    return {"id": name, "name": name, "parents": parents, "inputFiles": takes, "outputFiles": makes}


def test_an_estee_graph_has_sizes_in_megabytes(tmp_path: Path) -> None:
    path = estee(tmp_path / "a.zip", {"pair": [estee_task(2.5, [0.5, 3], []), estee_task(1, [], [[0, 1], [0, 0], [0, 1]])]})
    assert read(path) == [
        Instance("pair", (Task("0", 2.5, (500_000, 3_000_000)), Task("1", 1.0, (), (Input(0, 1), Input(0, 0))))),
    ]


def test_tasks_come_in_topological_order(tmp_path: Path) -> None:
    path = estee(tmp_path / "a.zip", {"back": [estee_task(1, [], [[2, 0]]), estee_task(1, [], []), estee_task(1, [1], [])]})
    (instance,) = read(path)
    assert [task.id for task in instance.tasks] == ["1", "2", "0"]
    assert instance.tasks[2].inputs == (Input(1, 0),)


def test_a_workflow_takes_files_from_tasks_and_others_from_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "flow.json"
    path.write_text(
        workflow(
            [wf_task("a", [], ["given"], ["x", "y"]), wf_task("b", ["a"], ["y", "given"], [])],
            {"given": 5, "x": 6, "y": 7},
            {"a": 1.5, "b": 2},
        )
    )
    assert read(path) == [Instance("flow", (Task("a", 1.5, (6, 7)), Task("b", 2.0, (), (Input(0, 1),))))]


def test_a_parent_without_a_file_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "flow.json"
    path.write_text(workflow([wf_task("a", [], [], ["x"]), wf_task("b", ["a"], [], [])], {"x": 6}, {"a": 1, "b": 2}))
    assert read(path)[0].tasks == (Task("a", 1.0, (6, 0)), Task("b", 2.0, (), (Input(0, 1),)))


def test_bounds_of_an_instance() -> None:
    tasks = (Task("a", 3.0, (1,)), Task("b", 2.0, (), (Input(0, 0),)), Task("c", 9.0))
    instance = Instance("i", tasks)
    assert (instance.work, instance.critical_path) == (14.0, 9.0)
    assert (instance.lower_bound(1), instance.lower_bound(2)) == (14.0, 9.0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "unknown kind of file"),
        ("a.zip", "no archive", "not a zip archive"),
        ("a.json", "{", "not JSON"),
        ("a.json", "[]", "not a workflow"),
        ("a.json", workflow([], {}, {}, version="1.4"), "its WfFormat is 1.4, and only 1.5 is understood"),
        ("a.json", workflow([wf_task("a", [], [], ["x"])], {"x": 1}, {}), "field 'a' is missing"),
        ("a.json", workflow([wf_task("a", [], [], ["x"])], {"x": 1}, {"a": -1}), "task a: runtimeInSeconds is -1"),
        ("a.json", workflow([wf_task("a", [], [], ["x"]), wf_task("b", [], [], ["x"])], {"x": 1}, {"a": 1, "b": 1}), "made by two tasks"),
        ("a.json", workflow([wf_task("a", ["b"], [], []), wf_task("b", ["a"], [], [])], {}, {"a": 1, "b": 1}), "in a circle"),
        ("a.json", workflow([wf_task("a", [], [], []), wf_task("a", [], [], [])], {}, {"a": 1}), "two tasks have the same id"),
    ],
)
def test_a_file_that_holds_no_instance_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UnreadableInstance, match=message) as refused:
        read(path)
    assert str(path) in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInstance, match="cannot be read: No such file"):
        read(tmp_path / "none.json")


@pytest.mark.parametrize(
    "tasks", [[{"d": 1}], [estee_task(1, [], [[7, 0]])], [estee_task(1, [1], [[0, 1]])], [None], [estee_task(1, [], [[0]])]]
)
def test_a_damaged_estee_graph_is_refused(tmp_path: Path, tasks: list[Any]) -> None:
    with pytest.raises(UnreadableInstance, match=r"a\.zip: "):
        read(estee(tmp_path / "a.zip", {"bad": tasks}))


def test_the_published_graphs_are_read(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("graphs")
    found = [instance for path in sorted([*folder.glob("*/*.zip"), *folder.glob("*/*.json")]) for instance in read(path)]
    assert len(found) == 27
    names = {instance.name: instance for instance in found}
    assert len(names["splitters"].tasks) == 255
    assert sum(len(task.inputs) for task in names["mapreduce"].tasks) == 25_760
    assert len(names["montage-chameleon-2mass-03d-001"].tasks) == 748
    assert all(source < index for instance in found for index, task in enumerate(instance.tasks) for source, _ in task.inputs)
