"""Jobs that need more than the store of their host holds: they end, and their values come; or the error says what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

import headrace as hr

MB = 1 << 20
N = 1_965_000
"""Numbers of a field of 15 MB."""


def more(x):
    return x + 1


def same(x):
    return x


def total(*fields):
    return sum(float(field[0]) for field in fields)


@pytest.mark.parametrize(("capacity", "runners"), [(40 * MB, 2), (20 * MB, 1)])
@pytest.mark.parametrize("then", [more, same])
def test_outputs_that_are_also_consumed_come_whatever_the_store(capacity, runners, then):
    g = hr.Graph("held")
    for i in range(8):
        made = g.add(np.full, N, float(i), name=f"a{i}")
        g.output(made, g.add(then, made, name=f"b{i}"))
    with hr.Cluster.local(runners=runners, capacity=capacity) as cluster:
        results = cluster.submit(g).results(60)
    add = 1.0 if then is more else 0.0
    assert {name: (float(value.min()), float(value.max())) for name, value in results.items()} == {
        f"{kind}{i}": (i + extra, i + extra) for i in range(8) for kind, extra in (("a", 0.0), ("b", add))
    }


def test_inputs_that_do_not_fit_together_go_above_the_capacity():
    g = hr.Graph("inputs")
    g.output(g.add(total, *[g.add(np.full, N, float(i)) for i in range(4)], name="total"))
    with hr.Cluster.local(runners=1, capacity=40 * MB) as cluster:
        assert cluster.submit(g).results(60) == {"total": 6.0}


def test_a_result_larger_than_the_store_is_said_to_be_with_both_sizes():
    g = hr.Graph("large")
    g.output(g.add(np.full, N, 1.0, name="a"))
    with hr.Cluster.local(runners=1, capacity=10 * MB) as cluster, pytest.raises(hr.TaskFailed) as failed:
        cluster.submit(g).results(60)
    assert "15,720,192 bytes is larger than the store of 10,485,760 bytes" in str(failed.value)
    assert "HEADRACE_CAPACITY" in str(failed.value)
