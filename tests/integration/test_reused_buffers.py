"""Tasks that fill one array of their own again and again: what they returned or yielded stays what it was, also while the store is full."""

from __future__ import annotations

import time

import numpy as np
import pytest

import headrace as hr

N = 500_000
CAPACITY = 10 << 20
"""Two arrays of 4 MB, and not three: results wait for room."""


def refill(i, make=np.zeros, _own={}):  # noqa: B006  a work array, as `out=` code has one
    work = _own.setdefault("work", None)
    if work is None:
        work = _own["work"] = make(N)
    work[:] = i
    return work


def part(i, _own={}):  # noqa: B006
    work = _own.setdefault("work", np.zeros(2 * N))
    work[:] = i
    return {"half": work[::1][:N]}


def look(x, i):
    time.sleep(0.05)
    x = x["half"] if isinstance(x, dict) else x
    return float(x.min()), float(x.max()), float(i)


def steps(first, n, _own={}):  # noqa: B006
    work = _own.setdefault("work", np.zeros(N))
    for i in range(first, first + n):
        work[:] = i
        yield work
    work[:] = -1


def computed_later(first, n):
    work = np.zeros(N)

    def fill(i):
        work[:] = i
        return work

    return map(fill, range(first, first + n))


def each(first, n):
    work = np.zeros(N)
    for i in range(first, first + n):
        work[:] = i
        yield hr.Output(work, step=i)
    work[:] = -1


@pytest.mark.parametrize("make", ["numpy", "store", "part"])
def test_what_a_task_returned_is_not_changed_by_its_next_call(make):
    make_one = {"numpy": refill, "store": lambda i, f=refill: f(i, hr.empty), "part": part}[make]
    g = hr.Graph("refill")
    for i in range(8):
        made = g.add(make_one, i)
        g.add(look, made, i), g.add(look, made, i)
    with hr.Cluster.local(runners=2, capacity=CAPACITY) as cluster:
        wrong = {name: seen for name, seen in cluster.submit(g).results(60).items() if len(set(seen)) > 1}
    assert not wrong


@pytest.mark.parametrize("capacity", [CAPACITY, 1 << 30])
@pytest.mark.parametrize("generator", [steps, each, computed_later])
def test_what_a_generator_yielded_is_not_changed_by_the_rest_of_it(generator, capacity):
    g = hr.Graph("steps")
    for first in (0, 10, 20):
        made = g.add(generator, first, 4, outputs=4)
        for k in range(4):
            g.add(look, made[k], first + k)
    with hr.Cluster.local(runners=1, capacity=capacity) as cluster:
        wrong = {name: seen for name, seen in cluster.submit(g).results(60).items() if len(set(seen)) > 1}
    assert not wrong
