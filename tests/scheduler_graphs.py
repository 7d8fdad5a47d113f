"""Graphs for the tests of the scheduler: drawn by hypothesis, and the shapes that its quality is measured on."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

from headrace.graph.topology import Topology
from headrace_schemas import FunctionSpec, GraphSpec

FUNCTIONS = [
    FunctionSpec(name="plain", module="m", qualname="plain"),
    FunctionSpec(name="steps", module="m", qualname="steps", generator=True),
]


def make_spec(
    rows: list[list[int]], n_outputs: list[int] | None = None, function: list[int] | None = None, outputs: list[int] | None = None
) -> GraphSpec:
    """A graph from the datasets that each task takes; by default every task makes one, and what nothing takes is asked for."""
    n = len(rows)
    n_datasets = sum(n_outputs) if n_outputs else n
    used = {dataset for row in rows for dataset in row}
    return GraphSpec(
        name="drawn",
        n_tasks=n,
        shape_hash="0" * 64,
        content_hash="1" * 64,
        functions=FUNCTIONS,
        function=function or [0] * n,
        n_outputs=n_outputs or [],
        n_inputs=[len(row) for row in rows] if used else [],
        inputs=[dataset for row in rows for dataset in row],
        outputs=[d for d in range(n_datasets) if d not in used] if outputs is None else outputs,
        blocks=[b""] * -(-n // 256),
    )


@st.composite
def specs(draw: Any, max_tasks: int = 30) -> GraphSpec:
    """Any graph: several outputs, generators, datasets that are taken twice, asked for and taken, or neither."""
    n = draw(st.integers(1, max_tasks))
    generators = draw(st.lists(st.booleans(), min_size=n, max_size=n)) if draw(st.booleans()) else [False] * n
    rows: list[list[int]] = []
    n_outputs: list[int] = []
    for _ in range(n):
        made = sum(n_outputs)
        near = st.integers(max(0, made - 4), made - 1) if draw(st.booleans()) and made else st.integers(0, max(0, made - 1))
        rows.append(draw(st.lists(near, max_size=3, unique=True)) if made else [])
        n_outputs.append(draw(st.sampled_from([1, 1, 1, 1, 2, 3])))
    n_datasets = sum(n_outputs)
    outputs = draw(st.lists(st.integers(0, n_datasets - 1), min_size=1, max_size=5, unique=True))
    return make_spec(rows, n_outputs, [int(g) for g in generators], sorted(outputs))


def topology_of(spec: GraphSpec) -> Topology:
    """Its topology."""
    return Topology.from_spec(spec)


def layers(count: int = 20, width: int = 500, inputs: int = 3, seed: int = 1) -> GraphSpec:
    """Layers of tasks, each with random inputs of the layer before."""
    rng = random.Random(seed)
    deeper = [rng.sample(range((layer - 1) * width, layer * width), inputs) for layer in range(1, count) for _ in range(width)]
    return make_spec([[] for _ in range(width)] + deeper)


def tree(leaves: int = 8192) -> GraphSpec:
    """Leaves, combined two by two."""
    rows: list[list[int]] = [[] for _ in range(leaves)]
    level = list(range(leaves))
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = list(range(len(rows), len(rows) + len(pairs)))
        rows.extend(pairs)
    return make_spec(rows)


def parallel_chains(count: int, length: int) -> GraphSpec:
    """Independent sequences, made step by step."""
    return make_spec([[task - count] if task >= count else [] for task in range(count * length)])


def flat(count: int) -> GraphSpec:
    """Independent tasks."""
    return make_spec([[] for _ in range(count)])
