"""List scheduling: each task in turn goes to the host where it would end first. For compiled code.

Runners are timelines with gaps, so that a task may be inserted before others that were placed earlier. Transfers take their bytes by the
bandwidth of the slower link; or, with `serial`, each link also carries one transfer at a time, which predicts what contention costs.
"""

from __future__ import annotations

import math

from headrace.scheduler.planners.compiled import Column, compiled, floats, ints
from headrace.scheduler.planners.table import Table


@compiled
def upward_ranks(table: Table, slow: float) -> Column:
    """Return for each task the seconds of the longest path from it to an end of the graph: work and transfers.

    slow: by what to multiply the seconds of a transfer; 0 leaves transfers out.
    """
    speed, bandwidth = 0.0, 0.0
    for host in range(table.n_hosts):
        speed += table.speed[host] / table.n_hosts
        bandwidth += table.bandwidth[host] / table.n_hosts
    if table.n_hosts == 1:
        slow = 0.0
    rank = floats(table.n_tasks, 0.0)
    for task in range(table.n_tasks - 1, -1, -1):
        takes = table.seconds[task] / speed
        longest, first, last = takes, table.first_output[task], table.first_output[task + 1]
        for dataset in range(first, last):
            made = takes * (dataset - first + 1) / (last - first) if table.yields[task] else takes
            transfer = slow * (table.latency + table.nbytes[dataset] / bandwidth) if slow > 0 else 0.0
            for place in range(table.consumer_start[dataset], table.consumer_start[dataset + 1]):
                longest = max(longest, made + transfer + rank[table.consumers[place]])
        rank[task] = longest
    return rank


@compiled
def downward_ranks(table: Table, slow: float) -> Column:
    """Return for each task the seconds of the longest path from a source to it, without its own work; `slow` as in `upward_ranks`."""
    speed, bandwidth = 0.0, 0.0
    for host in range(table.n_hosts):
        speed += table.speed[host] / table.n_hosts
        bandwidth += table.bandwidth[host] / table.n_hosts
    if table.n_hosts == 1:
        slow = 0.0
    rank = floats(table.n_tasks, 0.0)
    for task in range(table.n_tasks):
        for place in range(table.input_start[task], table.input_start[task + 1]):
            dataset = table.inputs[place]
            maker = table.producer[dataset]
            if table.done[maker]:
                continue
            transfer = slow * (table.latency + table.nbytes[dataset] / bandwidth) if slow > 0 else 0.0
            made, first = table.seconds[maker] / speed, table.first_output[maker]
            if table.yields[maker]:
                made *= (dataset - first + 1) / (table.first_output[maker + 1] - first)
            rank[task] = max(rank[task], rank[maker] + made + transfer)
    return rank


@compiled
def place_list(
    table: Table,
    sequence: Column,
    slow: float,
    serial: int,
    patience: float,
    use: Column,
    pinned: Column,
    host: Column,
    start: Column,
    copy_task: Column,
    copy_host: Column,
    copy_start: Column,
) -> int:
    """Place the tasks of a sequence, which is a topological order: fill in the host and the predicted start of each.

    slow: by what to multiply the seconds of a transfer. serial: 1 if a link carries one transfer at a time.
    patience: an input is computed again before the task, by a copy of the task that makes it, where that takes no longer than so many
    times its transfer, and where all that the copy takes is on the host; 0 for no copies.
    use (hosts): 1 for those that may be used; a task that fits none of them goes to any that it fits.
    pinned (tasks): the only host of each, -1 for any.
    copy_task, copy_host, copy_start (at most one per edge): filled in for copies. Returns their number.

    It is one long function, since every call within it would pass all columns. Its arrays:
    gap, last_gap (runners), gap_begin, gap_end, gap_next: a list for each runner, of times when it is idle. free (runners): when it has
    done all.
    head (datasets), where, since, following: a list for each dataset, of the hosts that have it, and since when.
    up, down (hosts): when a link has carried all transfers so far. ready, link, extra (hosts): for the task at hand, when its inputs are
    there, when the link has carried them, and the seconds of copies. local (hosts): since when an input is there.
    """
    n_hosts, n_datasets, latency, done = table.n_hosts, table.n_datasets, table.latency, table.done
    inputs, input_start, first_output, producer = table.inputs, table.input_start, table.first_output, table.producer
    nbytes, seconds, speed, bandwidth, kind, able = table.nbytes, table.seconds, table.speed, table.bandwidth, table.kind, table.able
    first_runner = ints(n_hosts + 1, 0)
    for h in range(n_hosts):
        first_runner[h + 1] = first_runner[h] + table.runners[h]
    n_runners = first_runner[n_hosts]
    free, gap, last_gap = floats(n_runners, 0.0), ints(n_runners, -1), ints(n_runners, -1)
    most = 2 * len(sequence) + 1
    gap_begin, gap_end, gap_next, n_gaps = floats(most, 0.0), floats(most, 0.0), ints(most, -1), 0
    most = len(table.held) + len(inputs) + (n_datasets * n_hosts if patience > 0 else n_datasets)
    head, where, since, following, n_since = ints(n_datasets, -1), ints(most, 0), floats(most, 0.0), ints(most, -1), 0
    up, down = floats(n_hosts, 0.0), floats(n_hosts, 0.0)
    ready, link, extra, local = floats(n_hosts, 0.0), floats(n_hosts, 0.0), floats(n_hosts, 0.0), floats(n_hosts, 0.0)
    last_maker, n_copies = ints(n_hosts, -1), 0
    for dataset in range(n_datasets):
        for place in range(table.held_start[dataset], table.held_start[dataset + 1]):
            where[n_since], following[n_since], head[dataset] = table.held[place], head[dataset], n_since
            n_since += 1

    for task in sequence:
        # When its inputs would be on each host.
        for h in range(n_hosts):
            ready[h], link[h], extra[h], last_maker[h] = 0.0, down[h], 0.0, -1
        for place in range(input_start[task], input_start[task + 1]):
            dataset = inputs[place]
            maker = producer[dataset]
            for h in range(n_hosts):
                local[h] = math.inf
            copy, source, made = head[dataset], -1, math.inf
            while copy >= 0:
                h = where[copy]
                local[h] = min(local[h], since[copy])
                if source < 0 or since[copy] <= made:  # of equals the first, which stands last
                    source, made = h, since[copy]
                copy = following[copy]
            for h in range(n_hosts):
                if local[h] < math.inf:
                    ready[h] = max(ready[h], local[h])
                    continue
                takes = nbytes[dataset] / min(bandwidth[source], bandwidth[h])
                again = seconds[maker] / speed[h]
                if patience > 0 and again <= patience * (latency + takes) and able[kind[maker] * n_hosts + h] and not done[maker]:
                    inputs_since = _all_there(table, head, where, since, following, maker, h)
                    if inputs_since < math.inf:
                        if last_maker[h] != maker:
                            extra[h] += again
                        last_maker[h] = maker
                        ready[h] = max(ready[h], inputs_since)
                        continue
                if serial:
                    link[h] = max(made + latency, up[source], link[h]) + takes
                    ready[h] = max(ready[h], link[h])
                else:
                    ready[h] = max(ready[h], made + (latency + takes) * slow)

        # The runner where it would end first.
        best, best_end, best_start, best_runner, best_before, best_gap = -1, math.inf, 0.0, -1, -1, -1
        for attempt in range(2):
            if best >= 0:
                break
            for h in range(n_hosts):
                if not able[kind[task] * n_hosts + h] or (attempt == 0 and (not use[h] or pinned[task] not in (-1, h))):
                    continue
                takes = extra[h] + seconds[task] / speed[h]
                if ready[h] + takes >= best_end:
                    continue
                for runner in range(first_runner[h], first_runner[h + 1]):
                    begins, before, found = max(free[runner], ready[h]), -1, -1
                    at, previous = gap[runner], -1
                    while at >= 0:
                        if max(gap_begin[at], ready[h]) + takes <= gap_end[at]:
                            begins, before, found = max(gap_begin[at], ready[h]), previous, at
                            break
                        previous, at = at, gap_next[at]
                    better = begins + takes < best_end
                    if best == h and begins + takes == best_end and found < 0 and best_gap < 0:
                        better = free[runner] > free[best_runner]  # the runner that idles least
                    if better:
                        best, best_end, best_start = h, begins + takes, begins
                        best_runner, best_before, best_gap = runner, before, found

        # Take the time of the runner.
        if best_gap >= 0:
            begin, rest = gap_begin[best_gap], gap_next[best_gap]
            if gap_end[best_gap] > best_end:
                gap_begin[best_gap] = best_end
                rest = best_gap
            if best_start > begin:
                gap_begin[n_gaps], gap_end[n_gaps], gap_next[n_gaps] = begin, best_start, rest
                if rest < 0:
                    last_gap[best_runner] = n_gaps
                rest = n_gaps
                n_gaps += 1
            elif rest < 0:
                last_gap[best_runner] = best_before
            if best_before >= 0:
                gap_next[best_before] = rest
            else:
                gap[best_runner] = rest
        else:
            if best_start > free[best_runner]:
                gap_begin[n_gaps], gap_end[n_gaps] = free[best_runner], best_start
                if last_gap[best_runner] >= 0:
                    gap_next[last_gap[best_runner]] = n_gaps
                else:
                    gap[best_runner] = n_gaps
                last_gap[best_runner] = n_gaps
                n_gaps += 1
            free[best_runner] = best_end

        # Take the time of the links, and note where datasets are.
        begins = best_start
        for place in range(input_start[task], input_start[task + 1]):
            dataset = inputs[place]
            maker = producer[dataset]
            copy, there, source, made = head[dataset], False, -1, math.inf
            while copy >= 0:
                there = there or where[copy] == best
                if source < 0 or since[copy] <= made:
                    source, made = where[copy], since[copy]
                copy = following[copy]
            if there:
                continue
            takes = nbytes[dataset] / min(bandwidth[source], bandwidth[best])
            again = seconds[maker] / speed[best]
            pays = patience > 0 and again <= patience * (latency + takes) and able[kind[maker] * n_hosts + best] and not done[maker]
            if pays and _all_there(table, head, where, since, following, maker, best) < math.inf:
                copy_task[n_copies], copy_host[n_copies], copy_start[n_copies] = maker, best, begins
                n_copies += 1
                begins += again
                for output in range(first_output[maker], first_output[maker + 1]):
                    where[n_since], since[n_since], following[n_since] = best, begins, head[output]
                    head[output] = n_since
                    n_since += 1
                continue
            arrives = made + (latency + takes) * slow
            if serial:
                arrives = max(made + latency, up[source], down[best]) + takes
                up[source] = down[best] = arrives
            where[n_since], since[n_since], following[n_since], head[dataset] = best, arrives, head[dataset], n_since
            n_since += 1
        host[task], start[task] = best, begins
        n_made = first_output[task + 1] - first_output[task]
        for dataset in range(first_output[task], first_output[task + 1]):
            made = best_end
            if table.yields[task]:
                made -= (best_end - begins) * (first_output[task + 1] - dataset - 1) / n_made
            where[n_since], since[n_since], following[n_since], head[dataset] = best, made, head[dataset], n_since
            n_since += 1
    return n_copies


@compiled
def _all_there(table: Table, head: Column, where: Column, since: Column, following: Column, task: int, host: int) -> float:
    """Return when all inputs of a task are on a host; infinity if one is not going to be."""
    ready = 0.0
    for place in range(table.input_start[task], table.input_start[task + 1]):
        copy, there = head[table.inputs[place]], math.inf
        while copy >= 0:
            if where[copy] == host:
                there = min(there, since[copy])
            copy = following[copy]
        ready = max(ready, there)
    return ready
