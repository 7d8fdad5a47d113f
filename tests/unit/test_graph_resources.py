"""The resources of tasks and hosts: how they are given, checked, frozen and compared."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.errors import GraphError, SettingsError
from headrace.graph.freezing import freeze
from headrace.graph.needs import Needs
from headrace.graph.resources import check_resources, fits, in_words, parse_resources
from headrace.graph.topology import Topology
from headrace.graph.validation import validate
from headrace_schemas import FunctionSpec, GraphSpec

NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
SOME = st.dictionaries(NAMES, st.integers(1, 10**6).map(lambda n: n / 8), max_size=5)


def double(x: int) -> int:
    return 2 * x


def test_a_decorated_function_needs_what_it_says() -> None:
    @hr.task(resources={"gpu": 1, "bandwidth": 0.5})
    def train(x: int) -> int:
        return x

    assert train.resources == {"bandwidth": 0.5, "gpu": 1.0}
    assert hr.task(double, resources={"gpu": 2}).resources == {"gpu": 2.0}
    assert hr.task(double).resources == {}
    assert hr.task(double, resources={}).resources == {}


def test_resources_are_frozen_with_the_function() -> None:
    graph = hr.Graph("needs")
    on_gpu = graph.add(hr.task(double, resources={"gpu": 1}), 1)
    graph.add(hr.task(double), on_gpu)
    spec = freeze(graph)
    assert [function.resources for function in spec.functions] == [{"gpu": 1.0}, {}], "one callable with two needs is two functions"
    validate(spec)


def test_a_free_node_and_a_copied_one_keep_what_they_need() -> None:
    node = hr.delayed(double, resources={"gpu": 1})(3)
    graph = hr.Graph.from_nodes([node], "free")
    assert freeze(graph).functions[0].resources == {"gpu": 1.0}
    bound = graph.add(double, graph.add(hr.task(double, resources={"big": 2}), 1))
    assert {"big": 2.0} in [function.resources for function in freeze(hr.Graph.from_nodes([bound], "copy")).functions]


def test_a_pickled_task_keeps_what_it_needs() -> None:
    assert pickle.loads(pickle.dumps(hr.task(double, resources={"gpu": 1}))).resources == {"gpu": 1.0}


def test_needs_are_part_of_the_shape() -> None:
    def hash_of(**options: Any) -> str:
        graph = hr.Graph("g")
        graph.add(hr.task(double, **options), 1)
        return freeze(graph).shape_hash

    assert hash_of() == hash_of(resources={}) != hash_of(resources={"gpu": 1}) != hash_of(resources={"gpu": 2})
    assert hash_of(resources={"a": 1, "b": 2}) == hash_of(resources={"b": 2, "a": 1})


@pytest.mark.parametrize("amount", [0, -1, math.nan, math.inf, "1", None, True, [1], 10**400, 1j])
def test_an_amount_is_a_number_above_0(amount: Any) -> None:
    with pytest.raises(GraphError, match=r"resource 'gpu' of function 'double'.*above 0"):
        hr.task(double, resources={"gpu": amount})


@pytest.mark.parametrize("name", ["", " ", 1, None, "a=b", "a,b", "n" * 101, "a\nb"])
def test_a_name_is_a_short_text(name: Any) -> None:
    with pytest.raises(GraphError, match=r"resources of function 'double'.*name"):
        hr.task(double, resources={name: 1})


@pytest.mark.parametrize("given", ["gpu=1", ["gpu"], 1])
def test_resources_are_a_dict(given: Any) -> None:
    with pytest.raises(GraphError, match="dict of names and amounts"):
        hr.task(double, resources=given)


def test_there_are_few_of_them() -> None:
    with pytest.raises(GraphError, match="33 names"):
        hr.task(double, resources={f"r{n}": 1 for n in range(33)})


def test_numbers_of_other_libraries_are_numbers() -> None:
    assert check_resources({"a": np.float32(0.5), "b": np.int64(2), "c": Fraction(1, 4)}, "f") == {"a": 0.5, "b": 2.0, "c": 0.25}


def test_a_submitted_graph_with_other_amounts_is_refused() -> None:
    function = FunctionSpec(name="f", module="m", qualname="f", resources={"gpu": -1.0})
    spec = GraphSpec(name="g", n_tasks=1, shape_hash="", content_hash="", functions=[function], function=[0], outputs=[0], blocks=[b""])
    with pytest.raises(GraphError, match=r"functions\[0\] \('f'\).*above 0"):
        validate(spec)


@given(SOME)
def test_what_is_written_is_read(resources: dict[str, float]) -> None:
    assert parse_resources(in_words(resources)) == resources


def test_spaces_and_amounts_of_1_may_be_left_out() -> None:
    assert parse_resources(" gpu , highmem = 2.5 ") == {"gpu": 1.0, "highmem": 2.5}
    assert parse_resources("") == {}


@pytest.mark.parametrize("text", ["gpu=", "=1", "gpu=x", "gpu=0", "gpu=-1", "gpu=inf", "gpu=nan", "gpu=1,", ",", "a=b=c"])
def test_what_is_no_resource_is_said(text: str) -> None:
    with pytest.raises(
        SettingsError, match=r"HEADRACE_RESOURCES.* is not a resource: give names and amounts above 0, like gpu=1,highmem=2"
    ):
        parse_resources(text)
    with pytest.raises(SettingsError, match="twice"):
        parse_resources("gpu=1,gpu=2")


@given(SOME, SOME)
def test_a_need_fits_where_all_of_it_is(need: dict[str, float], has: dict[str, float]) -> None:
    assert fits(need, has) == all(name in has and has[name] >= amount for name, amount in need.items())


def test_a_graph_without_resources_has_no_needs() -> None:
    graph = hr.Graph("plain")
    graph.add(double, 1)
    assert Needs.of(freeze(graph)) is None


def test_needs_are_counted_by_kind() -> None:
    graph = hr.Graph("kinds")
    plain = graph.add(double, 1)
    for resources in ({"gpu": 1}, {"gpu": 2}, {"gpu": 1}):
        graph.add(hr.task(lambda x: x, resources=resources), plain)
    spec = freeze(graph)
    needs = Needs.of(spec)
    assert needs is not None
    assert needs.kinds == [{}, {"gpu": 1.0}, {"gpu": 2.0}]
    assert needs.of_tasks(Topology.from_spec(spec)).tolist() == [0, 1, 2, 1]
    assert needs.missing([{"gpu": 1.0}]) == [2]
    assert needs.missing([]) == [0, 1, 2]
