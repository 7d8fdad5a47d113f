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
            transfer = slow * (table.latency + table.nbytes[dataset] / bandwidth) if slow > 0 else 0.0
            made, first = table.seconds[maker] / speed, table.first_output[maker]
            if table.yields[maker]:
                made *= (dataset - first + 1) / (table.first_output[maker + 1] - first)
            rank[task] = max(rank[task], rank[maker] + made + transfer)
    return rank


@compiled
def place_list(table: Table, sequence: Column, slow: float, serial: int, use: Column, pinned: Column, host: Column, start: Column) -> None:
    """Place the tasks of a sequence, which is a topological order: fill in the host and the predicted start of each.

    slow: by what to multiply the seconds of a transfer. serial: 1 if a link carries one transfer at a time. use (hosts): 1 for those that
    may be used; a task that fits none of them goes to any that it fits. pinned (tasks): the only host of each, -1 for any.
    """
    n_hosts, n_datasets, latency = table.n_hosts, table.n_datasets, table.latency
    inputs, input_start, first_output = table.inputs, table.input_start, table.first_output
    nbytes, seconds, speed, bandwidth, kind, able = table.nbytes, table.seconds, table.speed, table.bandwidth, table.kind, table.able
    first_runner = ints(n_hosts + 1, 0)
    for h in range(n_hosts):
        first_runner[h + 1] = first_runner[h] + table.runners[h]
    free, gap = floats(first_runner[n_hosts], 0.0), ints(first_runner[n_hosts], -1)
    most = 2 * len(sequence) + 1
    gap_begin, gap_end, gap_next, n_gaps = floats(most, 0.0), floats(most, 0.0), ints(most, -1), 0
    # Copies of each dataset, as a list: where, since when, the next.
    copies = len(table.held) + n_datasets + len(inputs)
    head, copy_host, copy_time, copy_next, n_copies = ints(n_datasets, -1), ints(copies, 0), floats(copies, 0.0), ints(copies, -1), 0
    up, down = floats(n_hosts, 0.0), floats(n_hosts, 0.0)
    for dataset in range(n_datasets):
        for place in range(table.held_start[dataset], table.held_start[dataset + 1]):
            copy_host[n_copies], copy_next[n_copies], head[dataset] = table.held[place], head[dataset], n_copies
            n_copies += 1

    for task in sequence:
        best, best_end, best_start, best_runner, best_before, best_gap = -1, math.inf, 0.0, -1, -1, -1
        for attempt in range(2):
            if best >= 0:
                break
            for h in range(n_hosts):
                if not able[kind[task] * n_hosts + h] or (attempt == 0 and (not use[h] or pinned[task] not in (-1, h))):
                    continue
                ready, busy_link = 0.0, down[h]
                for place in range(input_start[task], input_start[task + 1]):
                    dataset = inputs[place]
                    copy, there, source, since = head[dataset], math.inf, -1, math.inf
                    while copy >= 0:
                        if copy_host[copy] == h:
                            there = min(there, copy_time[copy])
                        if source < 0 or copy_time[copy] <= since:  # the first copy that was made stands last
                            source, since = copy_host[copy], copy_time[copy]
                        copy = copy_next[copy]
                    if there == math.inf:
                        takes = nbytes[dataset] / min(bandwidth[source], bandwidth[h])
                        if serial:
                            begins = max(since + latency, up[source], busy_link)
                            there = begins + takes
                            busy_link = there
                        else:
                            there = since + (latency + takes) * slow
                    ready = max(ready, there)
                takes = seconds[task] / speed[h]
                if ready + takes >= best_end:
                    continue
                for runner in range(first_runner[h], first_runner[h + 1]):
                    begins, before, found = max(free[runner], ready), -1, -1
                    at, previous = gap[runner], -1
                    while at >= 0:
                        if max(gap_begin[at], ready) + takes <= gap_end[at]:
                            begins, before, found = max(gap_begin[at], ready), previous, at
                            break
                        previous, at = at, gap_next[at]
                    better = begins + takes < best_end
                    if best == h and begins + takes == best_end and found < 0 and best_gap < 0:
                        better = free[runner] > free[best_runner]  # the runner that idles least
                    if better:
                        best, best_end, best_start = h, begins + takes, begins
                        best_runner, best_before, best_gap = runner, before, found
        host[task], start[task] = best, best_start
        # Take the time of the runner.
        if best_gap >= 0:
            begin, end = gap_begin[best_gap], gap_end[best_gap]
            rest = gap_next[best_gap]
            if end > best_end:
                gap_begin[best_gap] = best_end
                rest = best_gap
            if best_start > begin:
                gap_begin[n_gaps], gap_end[n_gaps], gap_next[n_gaps] = begin, best_start, rest
                rest = n_gaps
                n_gaps += 1
            if best_before >= 0:
                gap_next[best_before] = rest
            else:
                gap[best_runner] = rest
        else:
            if best_start > free[best_runner]:
                gap_begin[n_gaps], gap_end[n_gaps] = free[best_runner], best_start
                last = gap[best_runner]
                if last < 0:
                    gap[best_runner] = n_gaps
                else:
                    while gap_next[last] >= 0:
                        last = gap_next[last]
                    gap_next[last] = n_gaps
                n_gaps += 1
            free[best_runner] = best_end
        # Take the time of the links, and note where copies are.
        for place in range(input_start[task], input_start[task + 1]):
            dataset = inputs[place]
            copy, local, source, since = head[dataset], False, -1, math.inf
            while copy >= 0:
                local = local or copy_host[copy] == best
                if source < 0 or copy_time[copy] <= since:
                    source, since = copy_host[copy], copy_time[copy]
                copy = copy_next[copy]
            if not local:
                takes = nbytes[dataset] / min(bandwidth[source], bandwidth[best])
                there = since + (latency + takes) * slow
                if serial:
                    there = max(since + latency, up[source], down[best]) + takes
                    up[source] = down[best] = there
                copy_host[n_copies], copy_time[n_copies], copy_next[n_copies], head[dataset] = best, there, head[dataset], n_copies
                n_copies += 1
        for dataset in range(first_output[task], first_output[task + 1]):
            made = best_end
            if table.yields[task]:
                left = first_output[task + 1] - dataset - 1
                made -= (best_end - best_start) * left / (first_output[task + 1] - first_output[task])
            copy_host[n_copies], copy_time[n_copies], copy_next[n_copies], head[dataset] = best, made, head[dataset], n_copies
            n_copies += 1
