"""Runs a frozen graph in this process, the plainest way: what the tests of the graph compare with."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec

from headrace.graph.functions import load_function
from headrace.graph.naming import dataset_name
from headrace.graph.templates import bind, load_block
from headrace.graph.topology import Topology
from headrace.graph.validation import validate
from headrace_schemas.graph import GraphSpec


def travelled(spec: GraphSpec) -> GraphSpec:
    """The graph as it is after its way over the wire."""
    return msgspec.json.decode(msgspec.json.encode(spec), type=GraphSpec)


def evaluate(spec: GraphSpec) -> dict[str, Any]:
    """The values of the asked-for outputs, by name."""
    spec = travelled(spec)
    topology = validate(spec)
    values = _datasets(spec, topology)
    return {dataset_name(spec, dataset, topology): values[dataset] for dataset in spec.outputs}


def _datasets(spec: GraphSpec, topology: Topology) -> list[Any]:
    functions = [load_function(function) for function in spec.functions]
    templates = itertools.chain.from_iterable(map(load_block, spec.blocks))
    values: list[Any] = []
    for task, template in enumerate(templates):
        args, kwargs = bind(template, [values[dataset] for dataset in topology.inputs_of(task)])
        result = functions[spec.function[task]](*args, **kwargs)
        n_outputs = len(topology.outputs_of(task))
        several = bool(topology.is_generator[task]) or n_outputs > 1
        made = list(result) if several else [result]
        assert len(made) == n_outputs
        values.extend(made)
    return values
