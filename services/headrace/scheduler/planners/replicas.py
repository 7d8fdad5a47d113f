"""Which datasets are where under a placement, and who waits for them. For compiled code.

A replica is a dataset on a host: one that a row of the plan makes there, one that was there at the start, or one that is transferred
because a row of that host takes it. The replicas of a dataset stand together: those that were held come first, then those that rows make.
"""

from __future__ import annotations

from typing import NamedTuple

from headrace.scheduler.planners.compiled import Column, compiled, ints
from headrace.scheduler.planners.table import Table


class Replicas(NamedTuple):
    """The replicas of all datasets.

    start (datasets + 1): the replicas of dataset d are start[d] .. start[d + 1] - 1.
    dataset, host (replicas): what and where each is. Of received ones, there are `n_received`.
    received (replicas): 1 if it is transferred. uses (replicas): how many rows of its host take it.
    waiter (replicas), following, row (waits): a list of the rows that wait for it, -1 at its end.
    missing (rows): inputs of each row. next_row (rows): the next row of the same task, -1 for none.
    count: the number of replicas, and of received ones.
    """

    start: Column
    dataset: Column
    host: Column
    received: Column
    uses: Column
    waiter: Column
    following: Column
    row: Column
    missing: Column
    next_row: Column
    count: Column


@compiled
def find_replicas(table: Table, task: Column, host: Column) -> Replicas:
    """Return the replicas that a placement needs. task, host (rows): as in `Placement`."""
    rows, n_tasks, n_datasets = len(task), table.n_tasks, table.n_datasets
    first_output, input_start, producer = table.first_output, table.input_start, table.producer
    consumer_start, consumers, held_start, held = table.consumer_start, table.consumers, table.held_start, table.held
    next_row = ints(rows, -1)
    for row in range(rows - 1, n_tasks - 1, -1):
        next_row[row] = next_row[task[row]]
        next_row[task[row]] = row
    waits, made = 0, len(held)
    missing = ints(rows, 0)
    for row in range(rows):
        if host[row] >= 0:
            missing[row] = input_start[task[row] + 1] - input_start[task[row]]
            waits += missing[row]
            made += first_output[task[row] + 1] - first_output[task[row]]
    most = waits + made
    start, dataset_of, where = ints(n_datasets + 1, 0), ints(most, 0), ints(most, 0)
    received, uses, waiter = ints(most, 0), ints(most, 0), ints(most, -1)
    following, waiting = ints(waits, -1), ints(waits, 0)
    at = ints(table.n_hosts, -1)
    n, wait, n_received = 0, 0, 0
    for dataset in range(n_datasets):
        mark = n
        start[dataset] = mark
        for place in range(held_start[dataset], held_start[dataset + 1]):
            h = held[place]
            if at[h] < mark:
                at[h], dataset_of[n], where[n] = n, dataset, h
                n += 1
        row = producer[dataset]
        while row >= 0:
            h = host[row]
            if h >= 0 and at[h] < mark:
                at[h], dataset_of[n], where[n] = n, dataset, h
                n += 1
            row = next_row[row]
        for place in range(consumer_start[dataset], consumer_start[dataset + 1]):
            row = consumers[place]
            while row >= 0:
                h = host[row]
                if at[h] < mark:
                    at[h], dataset_of[n], where[n], received[n] = n, dataset, h, 1
                    n += 1
                    n_received += 1
                replica = at[h]
                waiting[wait] = row
                following[wait] = waiter[replica]
                waiter[replica] = wait
                uses[replica] += 1
                wait += 1
                row = next_row[row]
    start[n_datasets] = n
    count = ints(2, n)
    count[1] = n_received
    return Replicas(start, dataset_of, where, received, uses, waiter, following, waiting, missing, next_row, count)
