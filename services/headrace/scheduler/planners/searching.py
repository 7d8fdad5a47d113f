"""Simulated annealing over placements: moves, swaps, copies and order, each judged by the simulator. For compiled code.

Half of the changes and more start from the critical path of the present placement: the rows of which each waited for the one before, for
its data or for its runner. Only a change that touches that path can shorten the makespan.
"""

from __future__ import annotations

import math

from headrace.scheduler.planners.compiled import Column, compiled, floats, ints
from headrace.scheduler.planners.execution import RUNNER, TRANSFER, execute, make_outcome
from headrace.scheduler.planners.listing import upward_ranks
from headrace.scheduler.planners.table import Table

MODULUS, FACTOR = 2147483647, 48271
"""Of the generator of pseudo-random numbers (Park and Miller 1993), whose state is a column of one."""


@compiled
def draw(state: Column, n: int) -> int:
    """Return a number from 0 to n - 1."""
    state[0] = state[0] * FACTOR % MODULUS
    return int(state[0] % n)


@compiled
def draw_unit(state: Column) -> float:
    """Return a number between 0 and 1."""
    state[0] = state[0] * FACTOR % MODULUS
    return float(state[0] / MODULUS)


@compiled
def group_size(state: Column) -> int:
    """Return how many rows to move together: one in half of all cases, else up to 64."""
    return 1 if draw(state, 2) == 0 else 2 << draw(state, 6)


@compiled
def row_on(table: Table, task: Column, host: Column, rows: int, t: int, h: int) -> int:
    """Return the row of a task on a host, or -1."""
    if host[t] == h:
        return t
    for row in range(table.n_tasks, rows):
        if task[row] == t and host[row] == h:
            return row
    return -1


@compiled
def add_copy(table: Table, task: Column, host: Column, order: Column, rows: int, t: int, h: int, depth: int) -> int:
    """Add copies of a task and of its ancestors that are not on a host, up to a depth. Returns the new number of rows."""
    if rows >= len(task) or not table.able[table.kind[t] * table.n_hosts + h] or table.done[t]:
        return rows
    if row_on(table, task, host, rows, t, h) >= 0:
        return rows
    task[rows], host[rows], order[rows] = t, h, order[t]
    first, rows = rows, rows + 1
    at = first
    level_end = rows
    while depth > 0 and at < rows:
        if at == level_end:
            depth, level_end = depth - 1, rows
            if depth == 0:
                break
        for place in range(table.input_start[task[at]], table.input_start[task[at] + 1]):
            maker = table.producer[table.inputs[place]]
            fits = table.able[table.kind[maker] * table.n_hosts + h] and not table.done[maker]
            if rows < len(task) and fits and row_on(table, task, host, rows, maker, h) < 0:
                task[rows], host[rows], order[rows] = maker, h, order[maker]
                rows += 1
        at += 1
    return rows


@compiled
def drop_row(table: Table, task: Column, host: Column, order: Column, rows: int, row: int) -> int:
    """Remove a copy; or the row of the task itself, whose place a copy takes. Returns the new number of rows."""
    if row < table.n_tasks:
        for copy in range(table.n_tasks, rows):
            if task[copy] == row:
                host[row], order[row] = host[copy], order[copy]
                row = copy
                break
    if row < table.n_tasks:
        return rows
    rows -= 1
    task[row], host[row], order[row] = task[rows], host[rows], order[rows]
    return rows


@compiled
def move_row(table: Table, task: Column, host: Column, order: Column, rows: int, row: int, h: int) -> int:
    """Move a row to another host; if the task has a row there, it is dropped here. Returns the new number of rows."""
    t = task[row]
    if host[row] == h or host[row] < 0 or not table.able[table.kind[t] * table.n_hosts + h]:
        return rows
    if row_on(table, task, host, rows, t, h) >= 0:
        return drop_row(table, task, host, order, rows, row)
    host[row] = h
    return rows


@compiled
def move_group(table: Table, task: Column, host: Column, order: Column, rows: int, row: int, to: int, most: int, down: int) -> int:
    """Move a row and tasks around it that are on the same host: at most so many. Returns the new number of rows.

    down: 1 for those that need what it makes, 0 for those that it needs.
    """
    home = host[row]
    if home == to:
        return rows
    before = rows
    rows = move_row(table, task, host, order, rows, row, to)
    if rows != before or host[row] != to:
        return rows
    group, n, at = ints(most, 0), 1, 0
    group[0] = task[row]
    while at < n and n < most:
        t = group[at]
        at += 1
        if down:
            for dataset in range(table.first_output[t], table.first_output[t + 1]):
                for place in range(table.consumer_start[dataset], table.consumer_start[dataset + 1]):
                    near = table.consumers[place]
                    if n < most and host[near] == home and row_on(table, task, host, rows, near, to) < 0:
                        move_row(table, task, host, order, rows, near, to)
                        if host[near] == to:
                            group[n] = near
                            n += 1
        else:
            for place in range(table.input_start[t], table.input_start[t + 1]):
                near = table.producer[table.inputs[place]]
                if n < most and host[near] == home and row_on(table, task, host, rows, near, to) < 0:
                    move_row(table, task, host, order, rows, near, to)
                    if host[near] == to:
                        group[n] = near
                        n += 1
    return rows


@compiled
def some_host(table: Table, host: Column, row: int, t: int, load: Column, state: Column) -> int:
    """Choose a host for a row: of a neighbour in the graph, one of the idlest, or any."""
    choice = draw(state, 3)
    if choice == 0:
        n_in = table.input_start[t + 1] - table.input_start[t]
        first, last = table.first_output[t], table.first_output[t + 1]
        if n_in > 0 and (draw(state, 2) == 0 or first == last):
            maker = table.producer[table.inputs[table.input_start[t] + draw(state, n_in)]]
            if host[maker] >= 0:
                return int(host[maker])
        elif first < last:
            dataset = first + draw(state, last - first)
            n_out = table.consumer_start[dataset + 1] - table.consumer_start[dataset]
            if n_out > 0:
                return int(host[table.consumers[table.consumer_start[dataset] + draw(state, n_out)]])
    if choice == 1:
        one, other = draw(state, table.n_hosts), draw(state, table.n_hosts)
        return one if load[one] <= load[other] else other
    return draw(state, table.n_hosts)


@compiled
def change(
    table: Table,
    task: Column,
    host: Column,
    order: Column,
    rows: int,
    path: Column,
    n_path: int,
    cause: Column,
    via: Column,
    load: Column,
    state: Column,
) -> int:
    """Change a placement at random. Returns the new number of rows.

    path: rows of the critical path, `n_path` of them. cause, via: see `Outcome`. load (hosts): when each has done its rows.
    """
    critical = draw(state, 10) < 7
    row = path[draw(state, n_path)] if critical else draw(state, rows)
    if row >= rows or host[row] < 0:  # dropped by a change before
        return rows
    t, h, before = task[row], host[row], cause[row]
    if before >= rows:
        before = -1
    choice = draw(state, 100)
    if critical and before >= 0 and via[row] == TRANSFER:
        g = host[before]
        if choice < 20:
            return move_group(table, task, host, order, rows, row, g, group_size(state), 1)
        if choice < 40:
            return move_group(table, task, host, order, rows, before, h, group_size(state), 0)
        if choice < 60:
            return add_copy(table, task, host, order, rows, task[before], h, 0)
        if choice < 70:
            return add_copy(table, task, host, order, rows, task[before], h, 1 + draw(state, 8))
        if choice < 80:
            order[before] = order[before] * draw_unit(state)
            return rows
    if critical and before >= 0 and via[row] == RUNNER:
        if choice < 25:
            order[row] = order[before] - 0.001 * draw_unit(state)
            return rows
        if choice < 50:
            row, t = before, task[before]
    if choice < 85:
        to = some_host(table, host, row, t, load, state)
        if choice >= 70 and to != h:  # swap with a row there
            other = draw(state, rows)
            for _ in range(20):
                if host[other] == to:
                    break
                other = draw(state, rows)
            if host[other] == to:
                n = move_row(table, task, host, order, rows, other, h)
                if n == rows:
                    return move_row(table, task, host, order, rows, row, to)
                return n
        return move_group(table, task, host, order, rows, row, to, group_size(state), draw(state, 2))
    if choice < 90:
        order[row] = order[draw(state, rows)] - 0.001 * draw_unit(state)
        return rows
    if choice < 95 and rows > table.n_tasks:
        return drop_row(table, task, host, order, rows, table.n_tasks + draw(state, rows - table.n_tasks))
    return add_copy(table, task, host, order, rows, t, some_host(table, host, row, t, load, state), draw(state, 2))


@compiled
def over_memory(table: Table, peak: Column) -> float:
    """Return by how much hosts exceed their memory, as a share of it, added up."""
    over = 0.0
    for host in range(table.n_hosts):
        if peak[host] > table.capacity[host]:
            over += peak[host] / table.capacity[host] - 1.0
    return over


@compiled
def anneal(
    table: Table, task: Column, host: Column, order: Column, rows: int, evaluations: int, warm: float, cold: float, seed: int
) -> tuple[int, float]:
    """Improve a placement in place. Returns the number of rows and the makespan of the best placement found.

    task, host, order: of `rows` rows, with room for copies behind them. warm, cold: temperatures at the beginning and at the end, as shares
    of the makespan.
    """
    most, n_hosts = len(task), table.n_hosts
    state = ints(1, seed % (MODULUS - 1) + 1)
    outcome = make_outcome(most, n_hosts)
    cur_task, cur_host, cur_order = task.copy(), host.copy(), order.copy()
    try_task, try_host, try_order = task.copy(), host.copy(), order.copy()
    path, cause, via, load = ints(most, 0), ints(most, -1), ints(most, 0), floats(n_hosts, 0.0)
    tail, fastest, mean = upward_ranks(table, 0.0), 0.0, 0.0
    for h in range(n_hosts):
        fastest, mean = max(fastest, table.speed[h]), mean + table.speed[h] / n_hosts
    for t in range(table.n_tasks):
        tail[t] *= mean / fastest * (1 - 1e-9)
    cur_rows, best_rows, n_path = rows, rows, 0
    cur_cost, best_cost, best_makespan, first_makespan = math.inf, math.inf, math.inf, 1.0
    for evaluation in range(evaluations):
        for row in range(cur_rows):
            try_task[row], try_host[row], try_order[row] = cur_task[row], cur_host[row], cur_order[row]
        try_rows = cur_rows
        if evaluation > 0:
            for _ in range(1 + (draw(state, 4) == 0)):
                try_rows = change(table, try_task, try_host, try_order, try_rows, path, n_path, cause, via, load, state)
        heat = first_makespan * warm * (cold / warm) ** (evaluation / evaluations)
        cutoff = cur_cost - heat * math.log(draw_unit(state))  # what is above is rejected
        makespan = execute(table, try_task[:try_rows], try_host[:try_rows], try_order[:try_rows], tail, cutoff, outcome)
        if makespan == math.inf:
            continue
        penalty = over_memory(table, outcome.peak)
        if evaluation == 0:
            first_makespan = makespan
        cost = makespan + penalty * first_makespan
        for row in range(try_rows):
            cost += 0.02 * outcome.end[row] / try_rows
        if cost <= cutoff:
            cur_cost, cur_rows = cost, try_rows
            last = 0
            for h in range(n_hosts):
                load[h] = 0.0
            for row in range(try_rows):
                cur_task[row], cur_host[row], cur_order[row] = try_task[row], try_host[row], try_order[row]
                cause[row], via[row] = outcome.cause[row], outcome.via[row]
                if outcome.end[row] > outcome.end[last]:
                    last = row
                if try_host[row] >= 0:
                    load[try_host[row]] = max(load[try_host[row]], outcome.end[row])
            n_path = 0
            while last >= 0 and n_path < most:
                path[n_path] = last
                n_path += 1
                last = cause[last]
            if makespan + penalty * first_makespan < best_cost:
                best_cost, best_makespan, best_rows = makespan + penalty * first_makespan, makespan, try_rows
                for row in range(try_rows):
                    task[row], host[row], order[row] = try_task[row], try_host[row], try_order[row]
    return best_rows, best_makespan
