"""Published task graphs with the durations and sizes that were measured: archives of the Estee study, and executions in WfFormat 1.5.

Both become an `Instance`, which knows neither Headrace nor the file that it came from. Inputs that no task makes are left out: they are
on every host from the start. So are the CPUs that a task of Estee asks for: a task here takes one runner.
"""

from __future__ import annotations

import heapq
import json
import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

MEGABYTE = 10**6
"""Bytes of Estee's unit of size."""
WF_VERSION = "1.5"


GRAPHS = Path(__file__).resolve().parents[3] / "shared" / "data" / "graphs"
"""Published graphs beside the checkout."""


class UnreadableInstance(ValueError):
    """A file that holds no task graphs in a known format, or not the ones that are wanted. The message names the file and what is wrong."""


class Input(NamedTuple):
    """An output that a task takes: the index of the task that makes it, and the index of the output among that task's outputs."""

    task: int
    output: int


@dataclass(frozen=True)
class Task:
    """A task. seconds: how long it runs on a host of speed 1. outputs: bytes of each. inputs: distinct outputs of earlier tasks."""

    id: str
    seconds: float
    outputs: tuple[int, ...] = ()
    inputs: tuple[Input, ...] = ()


@dataclass(frozen=True)
class Instance:
    """A task graph with its costs. The tasks are in topological order."""

    name: str
    tasks: tuple[Task, ...]

    @property
    def work(self) -> float:
        """Seconds of all tasks together."""
        return sum(task.seconds for task in self.tasks)

    @property
    def critical_path(self) -> float:
        """Seconds of the longest path, without transfers."""
        ends: list[float] = []
        for task in self.tasks:
            ends.append(task.seconds + max((ends[source] for source, _ in task.inputs), default=0.0))
        return max(ends, default=0.0)

    def lower_bound(self, runners: int) -> float:
        """Return the seconds that no plan for so many runners in all can beat: the critical path, or the work divided by them."""
        return max(self.critical_path, self.work / runners)


def published() -> list[Path]:
    """Return the files of published graphs in the folder beside the checkout. Raises UnreadableInstance if it has none."""
    found = sorted([*GRAPHS.glob("*/*.zip"), *GRAPHS.glob("*/*.json")])
    if not found:
        raise UnreadableInstance(f"{GRAPHS}: there are no graphs. Name Estee archives or WfFormat files.")
    return found


def chosen(paths: Iterable[Path], names: Sequence[str] | None = None) -> list[Instance]:
    """Return the instances of files, or those of them that are named. Raises UnreadableInstance if a file is unreadable or lacks a name."""
    found = [instance for path in paths for instance in read(path)]
    absent = set(names or ()) - {instance.name for instance in found}
    if absent:
        has = ", ".join(instance.name for instance in found)
        raise UnreadableInstance(f"no instance {', '.join(sorted(absent))}: the files have {has}")
    return [instance for instance in found if not names or instance.name in names]


def read(path: Path) -> list[Instance]:
    """Return the instances of a file: all graphs of an Estee archive (`.zip`), or the one workflow of a WfFormat file (`.json`).

    Raises UnreadableInstance if the file is missing, damaged or of another format.
    """
    reader = {".zip": _estee, ".json": _wfformat}.get(path.suffix.lower())
    if reader is None:
        raise UnreadableInstance(f"{path}: unknown kind of file. Give an Estee archive (.zip) or a WfFormat {WF_VERSION} file (.json).")
    try:
        return reader(path)
    except OSError as error:
        raise UnreadableInstance(f"{path}: cannot be read: {error.strerror or error}") from None
    except zipfile.BadZipFile:
        raise UnreadableInstance(f"{path}: not a zip archive, or a damaged one") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UnreadableInstance(f"{path}: not JSON: {error}") from None
    except KeyError as error:
        raise UnreadableInstance(f"{path}: field {error} is missing") from None
    except _Fault as fault:
        raise UnreadableInstance(f"{path}: {fault}") from None
    except (TypeError, AttributeError, IndexError, ValueError):
        raise UnreadableInstance(f"{path}: a field has another type than the format gives it") from None


class _Fault(ValueError):
    """What is wrong in a file, without the name of the file."""


# ---------------------------------------------------------------- Estee


def _estee(path: Path) -> list[Instance]:
    """Read the graphs of the JSON files of an archive. Each file is a table in columns: `graph_name[i]`, and `graph[i]` as JSON text."""
    found = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            table = json.loads(archive.read(member))
            for key, name in table["graph_name"].items():
                found.append(_estee_graph(str(name), json.loads(table["graph"][key])))
    if not found:
        raise _Fault("holds no graphs")
    return found


def _estee_graph(name: str, rows: Sequence[Mapping[str, Any]]) -> Instance:
    tasks = [
        Task(
            id=str(index),
            seconds=_number(f"graph {name}, task {index}: d", row["d"]),
            outputs=tuple(_nbytes(f"graph {name}, task {index}: output", output["s"] * MEGABYTE) for output in row["outputs"]),
            inputs=_distinct(Input(int(task), int(output)) for task, output in row["inputs"]),
        )
        for index, row in enumerate(rows)
    ]
    return Instance(name, _sorted(f"graph {name}", tasks))


# ---------------------------------------------------------------- WfFormat


def _wfformat(path: Path) -> list[Instance]:
    """Read a workflow: its tasks and files from the specification, the durations from the execution."""
    record = json.loads(path.read_bytes())
    if not isinstance(record, dict) or "workflow" not in record:
        raise _Fault(f"not a workflow in WfFormat {WF_VERSION}")
    if record.get("schemaVersion") != WF_VERSION:
        raise _Fault(f"its WfFormat is {record.get('schemaVersion')}, and only {WF_VERSION} is understood")
    specification, execution = record["workflow"]["specification"], record["workflow"]["execution"]
    sizes = {file["id"]: file["sizeInBytes"] for file in specification["files"]}
    seconds = {task["id"]: task["runtimeInSeconds"] for task in execution["tasks"]}
    return [Instance(path.stem, _sorted("workflow", _wf_tasks(specification["tasks"], sizes, seconds)))]


def _wf_tasks(rows: Sequence[Mapping[str, Any]], sizes: Mapping[str, int], seconds: Mapping[str, float]) -> list[Task]:
    number = {row["id"]: index for index, row in enumerate(rows)}
    if len(number) != len(rows):
        raise _Fault("two tasks have the same id")
    makers = _makers(rows)
    signals = _signals(rows, number, makers)
    tasks = []
    for index, row in enumerate(rows):
        taken = [makers[file] for file in row.get("inputFiles", ()) if file in makers]
        waited = [Input(number[parent], signals[number[parent]]) for parent in _unfed(row, number, makers)]
        outputs = tuple(_nbytes(f"file {file}", sizes[file]) for file in row.get("outputFiles", ()))
        tasks.append(
            Task(
                id=row["id"],
                seconds=_number(f"task {row['id']}: runtimeInSeconds", seconds[row["id"]]),
                outputs=(*outputs, 0) if index in signals else outputs,
                inputs=_distinct([*taken, *waited]),
            )
        )
    return tasks


def _makers(rows: Sequence[Mapping[str, Any]]) -> dict[str, Input]:
    """Return the output that each file is."""
    makers: dict[str, Input] = {}
    for task, row in enumerate(rows):
        for output, file in enumerate(row.get("outputFiles", ())):
            if file in makers:
                raise _Fault(f"file {file} is made by two tasks")
            makers[file] = Input(task, output)
    return makers


def _unfed(row: Mapping[str, Any], number: Mapping[str, int], makers: Mapping[str, Input]) -> list[str]:
    """Return the parents of a task none of whose files it takes."""
    fed = {makers[file].task for file in row.get("inputFiles", ()) if file in makers}
    return [parent for parent in row.get("parents", ()) if number[parent] not in fed]


def _signals(rows: Sequence[Mapping[str, Any]], number: Mapping[str, int], makers: Mapping[str, Input]) -> dict[int, int]:
    """Return the tasks that get one more, empty, output, and its index: a child waits for them but takes none of their files."""
    parents = {number[parent] for row in rows for parent in _unfed(row, number, makers)}
    return {parent: len(rows[parent].get("outputFiles", ())) for parent in parents}


# ---------------------------------------------------------------- both


def _number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise _Fault(f"{what} is {value!r}, not a number of 0 or more")
    return float(value)


def _nbytes(what: str, value: Any) -> int:
    return round(_number(what, value))


def _distinct(inputs: Iterable[Input]) -> tuple[Input, ...]:
    return tuple(dict.fromkeys(inputs))


def _sorted(where: str, tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Return the tasks in topological order, as close to the given order as possible, with their inputs renumbered."""
    for task in tasks:
        for source, output in task.inputs:
            if not (0 <= source < len(tasks) and 0 <= output < len(tasks[source].outputs)):
                raise _Fault(f"{where}, task {task.id}: input [{source}, {output}] does not exist")
    order = list(_topological(tasks))
    if len(order) < len(tasks):
        raise _Fault(f"{where}: its tasks depend on one another in a circle")
    place = {old: new for new, old in enumerate(order)}
    return tuple(
        Task(task.id, task.seconds, task.outputs, tuple(Input(place[source], output) for source, output in task.inputs))
        for task in (tasks[old] for old in order)
    )


def _topological(tasks: Sequence[Task]) -> Iterator[int]:
    """Yield the indices of the tasks that depend on no circle: always the lowest one whose inputs are made."""
    children: list[set[int]] = [set() for _ in tasks]
    missing = [len({source for source, _ in task.inputs}) for task in tasks]
    for index, task in enumerate(tasks):
        for source, _ in task.inputs:
            children[source].add(index)
    ready = [index for index, count in enumerate(missing) if not count]
    while ready:
        index = heapq.heappop(ready)
        yield index
        for child in children[index]:
            missing[child] -= 1
            if not missing[child]:
                heapq.heappush(ready, child)
