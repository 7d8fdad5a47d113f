"""The loop of the simulator: events in the order of time. For compiled code; `simulate` says what is simulated.

An event is the end of a row, a dataset that a generator yields, the first byte of a transfer, or its last one. All events of one time are
taken in before hosts start what is ready then. It is one long function, since every call within it would pass all columns.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from headrace.scheduler.planners.compiled import Column, compiled, floats, ints
from headrace.scheduler.planners.heaps import drop, meld, pop, push
from headrace.scheduler.planners.links import fill
from headrace.scheduler.planners.replicas import find_replicas
from headrace.scheduler.planners.table import Table

ROUNDING = 1e-12
"""Share of a time within which two events count as simultaneous."""
AT_ONCE, TRANSFER, RUNNER = 0, 1, 2
"""What a row waited for last: an input that its own host made, an input from another host, or a runner."""


class Outcome(NamedTuple):
    """What happened.

    start, end, runner (rows): as in `Plan`.
    cause (rows): the row whose end let this one start, -1 for none. via (rows): AT_ONCE, TRANSFER or RUNNER.
    received, peak (hosts): bytes.
    """

    start: Column
    end: Column
    runner: Column
    cause: Column
    via: Column
    received: Column
    peak: Column


@compiled
def make_outcome(rows: int, n_hosts: int) -> Outcome:
    """Return columns for the outcome of so many rows."""
    return Outcome(
        floats(rows, 0.0),
        floats(rows, 0.0),
        ints(rows, -1),
        ints(rows, -1),
        ints(rows, AT_ONCE),
        floats(n_hosts, 0.0),
        floats(n_hosts, 0.0),
    )


@compiled
def execute(table: Table, task: Column, host: Column, order: Column, tail: Column, cutoff: float, outcome: Outcome) -> float:
    """Execute a placement: fill in its outcome. Returns the makespan; infinity as soon as it cannot be below the cutoff.

    task, host, order (rows): as in `Placement`. tail (tasks): seconds that pass at least from the start of a task to the end of the job.
    The arrays of this function:

    start, dataset_of, where, received, uses, waiter, following, waiting, missing: see `Replicas`; `uses` also counts transfers from each.
    source, maker (replicas): the replica that it is sent from; the row that made it. sent (datasets): 1 once its transfers began.
    base, n_ready (hosts), ready_order, ready_row: a heap for each host, of rows whose inputs are there.
    ready_at, by (rows): when the last input came, and its replica. touched, is_touched (hosts): the hosts where rows may start.
    first_runner (hosts), busy, last_row (runners): whether each executes a row, and which it executed last. free: resources of hosts.
    event_time, event: a heap of events: below `rows` the end of a row, above it a yield. yield_row, yield_dataset: the yields.
    due, due_replica: transfers before their first byte, in order. flows, served, first, rate, ends (queues), active: see `fill`.
    root (queues), target, child, sibling (replicas): a heap for each queue, of transfers.
    """
    n_hosts, n_datasets, n_resources, latency = table.n_hosts, table.n_datasets, table.n_resources, table.latency
    first_output, input_start, inputs, yields = table.first_output, table.input_start, table.inputs, table.yields
    seconds, memory, nbytes, bandwidth = table.seconds, table.memory, table.nbytes, table.bandwidth
    kind, need, have = table.kind, table.need, table.have
    rows = len(task)
    replicas = find_replicas(table, task, host)
    start, dataset_of, where, received = replicas.start, replicas.dataset, replicas.host, replicas.received
    uses, waiter, following, waiting, missing = replicas.uses, replicas.waiter, replicas.following, replicas.row, replicas.missing
    n_replicas, n_received, next_row = replicas.count[0], replicas.count[1], replicas.next_row
    began, ended, runner_of, cause, via = outcome.start, outcome.end, outcome.runner, outcome.cause, outcome.via
    got, peak = outcome.received, outcome.peak

    first_runner, base, n_yields = ints(n_hosts + 1, 0), ints(n_hosts + 1, 0), 0
    for h in range(n_hosts):
        first_runner[h + 1] = first_runner[h] + table.runners[h]
        got[h] = peak[h] = 0.0
    for row in range(rows):
        if host[row] >= 0:
            base[host[row] + 1] += 1
            if yields[task[row]]:
                n_yields += first_output[task[row] + 1] - first_output[task[row]]
    for h in range(n_hosts):
        base[h + 1] += base[h]
    n_runners = first_runner[n_hosts]
    busy, last_row = ints(n_runners, 0), ints(n_runners, -1)
    n_ready, ready_order, ready_row = ints(n_hosts, 0), ints(rows, 0), ints(rows, 0)
    ready_at, by = floats(rows, 0.0), ints(rows, -1)
    used, free = floats(n_hosts, 0.0), floats(n_hosts * n_resources, 0.0)
    for at in range(n_hosts * n_resources):
        free[at] = have[at]
    event_time, event = floats(n_runners + n_yields, 0.0), ints(n_runners + n_yields, 0)
    yield_row, yield_dataset = ints(n_yields, 0), ints(n_yields, 0)
    touched, is_touched = ints(n_hosts, 0), ints(n_hosts, 0)
    source, maker, sent = ints(n_replicas, -1), ints(n_replicas, -1), ints(n_datasets, 0)
    due, due_replica = floats(n_received, 0.0), ints(n_received, 0)
    n_queues = n_hosts * n_hosts if n_received else 0
    flows, root, active = ints(n_queues, 0), ints(n_queues, -1), ints(n_queues, 0)
    served, first, rate, ends = floats(n_queues, 0.0), floats(n_queues, 0.0), floats(n_queues, 0.0), floats(n_queues, math.inf)
    target, child, sibling = floats(n_replicas, 0.0), ints(n_replicas, -1), ints(n_replicas, -1)
    left, users, used_links = floats(2 * n_hosts, 0.0), ints(2 * n_hosts, 0), ints(2 * n_hosts, 0)
    arrived = ints(n_replicas, 0)

    now, makespan, flow_clock, flow_end = 0.0, 0.0, 0.0, math.inf
    n_events, n_yielded, n_touched, n_active, first_due, last_due, n_arrived = 0, 0, 0, 0, 0, 0, 0

    # What holds at the start: datasets on hosts, of which the first transfers begin, and rows without inputs.
    for h in range(n_hosts):
        touched[h], is_touched[h] = h, 1
    n_touched = n_hosts
    for row in range(rows):
        if host[row] >= 0 and missing[row] == 0:
            h = host[row]
            n_ready[h] = push(ready_order, ready_row, base[h], n_ready[h], order[row], row)
    for dataset in range(n_datasets):
        begin, end = start[dataset], start[dataset + 1]
        made_on = host[table.producer[dataset]]
        if table.wanted[dataset]:
            for replica in range(begin, end):
                if where[replica] == made_on or made_on < 0:
                    uses[replica] += 1  # an output is kept
                    break
        n_held = table.held_start[dataset + 1] - table.held_start[dataset]
        if n_held > 0:
            sent[dataset], turn = 1, 0
            for replica in range(begin, end):
                if received[replica]:
                    source[replica] = begin + turn % n_held
                    due[last_due], due_replica[last_due] = latency, replica
                    uses[source[replica]] += 1
                    got[where[replica]] += nbytes[dataset]
                    used[where[replica]] += nbytes[dataset]
                    turn += 1
                    last_due += 1
            for replica in range(begin, begin + n_held):
                if uses[replica] > 0:
                    used[where[replica]] += nbytes[dataset]
                arrived[n_arrived] = replica
                n_arrived += 1
    for h in range(n_hosts):
        peak[h] = used[h]

    while True:
        # Replicas that are complete: rows that waited for nothing else are ready.
        for at in range(n_arrived):
            replica = arrived[at]
            wait = waiter[replica]
            while wait >= 0:
                row = waiting[wait]
                missing[row] -= 1
                if missing[row] == 0:
                    h = host[row]
                    ready_at[row], by[row] = now, replica
                    n_ready[h] = push(ready_order, ready_row, base[h], n_ready[h], order[row], row)
                    if not is_touched[h]:
                        is_touched[h], touched[n_touched] = 1, h
                        n_touched += 1
                wait = following[wait]
        n_arrived = 0

        # Transfers whose first byte comes now.
        limit, changed = now * (1 + ROUNDING), False
        while first_due < last_due and due[first_due] <= limit:
            replica = due_replica[first_due]
            first_due += 1
            sender, receiver, size = where[source[replica]], where[replica], nbytes[dataset_of[replica]]
            if size <= 0 or min(bandwidth[sender], bandwidth[receiver]) == math.inf:
                arrived[n_arrived] = replica
                n_arrived += 1
            else:
                if now > flow_clock:
                    for at in range(n_active):
                        served[active[at]] += rate[active[at]] * (now - flow_clock)
                    flow_clock = now
                queue = sender * n_hosts + receiver
                if flows[queue] == 0:
                    served[queue], active[n_active] = 0.0, queue
                    n_active += 1
                flows[queue] += 1
                target[replica] = served[queue] + size
                root[queue] = meld(target, child, sibling, root[queue], replica)
                first[queue] = target[root[queue]]
                changed = True

        # Transfers whose last byte comes now.
        if flow_end <= limit:
            for at in range(n_active):
                served[active[at]] += rate[active[at]] * (now - flow_clock)
            flow_clock = now
            for at in range(n_active - 1, -1, -1):
                queue = active[at]
                while flows[queue] > 0 and (ends[queue] <= limit or first[queue] <= served[queue] * (1 + ROUNDING)):
                    replica = root[queue]
                    served[queue] = max(served[queue], first[queue])
                    root[queue] = drop(target, child, sibling, replica)
                    flows[queue] -= 1
                    ends[queue] = math.inf
                    if flows[queue] > 0:
                        first[queue] = target[root[queue]]
                    arrived[n_arrived] = replica
                    n_arrived += 1
                if flows[queue] == 0:
                    n_active -= 1
                    active[at] = active[n_active]
            changed = True
        if changed:
            flow_end = fill(n_hosts, bandwidth, active, n_active, flows, served, first, rate, ends, left, users, used_links, now)
        for at in range(n_arrived):
            replica = arrived[at]
            used_up = source[replica]
            maker[replica] = maker[used_up]
            uses[used_up] -= 1
            if uses[used_up] == 0:
                used[where[used_up]] -= nbytes[dataset_of[replica]]

        # Rows that end now, and yields. What they make is there, and is sent to the hosts that need it, if it is the first of its kind.
        n_ended = 0
        while n_events > 0 and event_time[0] <= limit:
            row = event[0]
            n_events = pop(event_time, event, 0, n_events)
            n_ended += 1
            if row < rows:
                t, h = task[row], host[row]
                busy[first_runner[h] + runner_of[row]] = 0
                used[h] -= memory[t]
                for resource in range(n_resources):
                    free[h * n_resources + resource] += need[kind[t] * n_resources + resource]
                if not is_touched[h]:
                    is_touched[h], touched[n_touched] = 1, h
                    n_touched += 1
                first_made, last_made = first_output[t], first_output[t + 1]
                if yields[t]:
                    last_made = first_made
            else:
                first_made = yield_dataset[row - rows]
                last_made = first_made + 1
                row = yield_row[row - rows]
                t, h = -1, host[row]
            for dataset in range(first_made, last_made):
                made = start[dataset]
                while where[made] != h:
                    made += 1
                maker[made] = row
                arrived[n_arrived] = made
                n_arrived += 1
                if not sent[dataset]:
                    sent[dataset] = 1
                    for replica in range(start[dataset], start[dataset + 1]):
                        if received[replica]:
                            source[replica] = made
                            due[last_due], due_replica[last_due] = now + latency, replica
                            last_due += 1
                            uses[made] += 1
                            to = where[replica]
                            got[to] += nbytes[dataset]
                            used[to] += nbytes[dataset]
                            peak[to] = max(peak[to], used[to])
                if uses[made] == 0:
                    used[h] -= nbytes[dataset]
            if t >= 0:
                for at in range(input_start[t], input_start[t + 1]):
                    taken = start[inputs[at]]
                    while where[taken] != h:
                        taken += 1
                    uses[taken] -= 1
                    if uses[taken] == 0:
                        used[h] -= nbytes[inputs[at]]
        if n_arrived > 0 or (first_due < last_due and due[first_due] <= limit):
            continue  # at the same time: rows become ready, and transfers without latency begin

        # Idle runners start what is ready.
        for at in range(n_touched):
            h = touched[at]
            is_touched[h] = 0
            runner = first_runner[h]
            while n_ready[h] > 0:
                while runner < first_runner[h + 1] and busy[runner]:
                    runner += 1
                if runner == first_runner[h + 1]:
                    break
                row = -1
                if n_resources == 0:
                    row = ready_row[base[h]]
                    n_ready[h] = pop(ready_order, ready_row, base[h], n_ready[h])
                else:
                    row = _first_that_fits(table, task, ready_order, ready_row, base[h], n_ready[h], free, h)
                    if row < 0:
                        break
                    n_ready[h] -= 1
                t = task[row]
                if now + tail[t] > cutoff and row == t and next_row[row] < 0:
                    return math.inf
                duration = seconds[t] / table.speed[h]
                began[row], ended[row] = now, now + duration
                makespan = max(makespan, now + duration)
                runner_of[row] = runner - first_runner[h]
                cause[row], via[row] = -1, AT_ONCE
                if now > ready_at[row]:
                    cause[row], via[row] = last_row[runner], RUNNER
                elif by[row] >= 0:
                    cause[row] = maker[by[row]]
                    if received[by[row]]:
                        via[row] = TRANSFER
                busy[runner], last_row[runner] = 1, row
                for resource in range(n_resources):
                    free[h * n_resources + resource] -= need[kind[t] * n_resources + resource]
                used[h] += memory[t]
                for dataset in range(first_output[t], first_output[t + 1]):
                    used[h] += nbytes[dataset]
                    if yields[t]:
                        yield_row[n_yielded], yield_dataset[n_yielded] = row, dataset
                        share = (dataset - first_output[t] + 1) / (first_output[t + 1] - first_output[t])
                        n_events = push(event_time, event, 0, n_events, now + duration * share, rows + n_yielded)
                        n_yielded += 1
                peak[h] = max(peak[h], used[h])
                n_events = push(event_time, event, 0, n_events, now + duration, row)
        n_touched = 0

        now = flow_end
        if n_events > 0:
            now = min(now, event_time[0])
        if first_due < last_due:
            now = min(now, due[first_due])
        if now == math.inf:
            break
    return makespan


@compiled
def _first_that_fits(
    table: Table, task: Column, ready_order: Column, ready_row: Column, base: int, n_ready: int, free: Column, h: int
) -> int:
    """Take the first ready row of a host whose resources are free from its heap; -1 if there is none."""
    n_resources = table.n_resources
    best = -1
    for at in range(base, base + n_ready):
        wanted, fits = table.kind[task[ready_row[at]]] * n_resources, True
        for resource in range(n_resources):
            spare = free[h * n_resources + resource] + 1e-9 * table.have[h * n_resources + resource]
            fits = fits and table.need[wanted + resource] <= spare
        if fits and (best < 0 or ready_order[at] < ready_order[best]):
            best = at
    if best < 0:
        return -1
    row = ready_row[best]
    size = 0
    for at in range(base, base + n_ready):  # the heap without that row
        if at != best:
            size = push(ready_order, ready_row, base, size, ready_order[at], ready_row[at])
    return int(row)
