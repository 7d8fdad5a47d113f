"""Rates of flows that share links fairly, by progressive filling. For compiled code.

Each host has a link with a capacity for what it sends and one for what it receives. All flows from one host to another have the same rate,
so they are one queue: `served` counts the bytes that each of them would have received since the queue was empty, and a flow ends when
that reaches its target. Rates are those of max-min fairness: all rise together until a link is full; flows through it keep their rate,
and the others rise further.
"""

from __future__ import annotations

import math

from headrace.scheduler.planners.compiled import Column, compiled


@compiled
def fill(
    n: int,
    bandwidth: Column,
    active: Column,
    n_active: int,
    flows: Column,
    served: Column,
    first: Column,
    rate: Column,
    ends: Column,
    left: Column,
    users: Column,
    used: Column,
    now: float,
) -> float:
    """Give each queue its fair rate. Returns when the next flow ends.

    n: hosts; the queue from host a to host b is number a * n + b. bandwidth (hosts): bytes per second each way.
    active: the queues that have flows, `n_active` of them. flows, served (queues): as above. first (queues): the lowest target of a queue.
    rate, ends (queues): filled in: bytes per second of each flow, and when the first flow of the queue ends.
    left, users, used (2 hosts): scratch: what each host still sends and then receives, for how many flows, and the links with flows.
    `users` is 0 before and after.
    """
    n_used = 0
    for at in range(n_active):
        queue = active[at]
        rate[queue] = -1.0
        sender, receiver = queue // n, n + queue % n
        if users[sender] == 0:
            used[n_used], left[sender] = sender, bandwidth[sender]
            n_used += 1
        if users[receiver] == 0:
            used[n_used], left[receiver] = receiver, bandwidth[receiver - n]
            n_used += 1
        users[sender] += flows[queue]
        users[receiver] += flows[queue]
    unset, soonest = n_active, math.inf
    while unset > 0:
        tight, share = -1, math.inf
        for at in range(n_used):
            link = used[at]
            if users[link] > 0 and left[link] < share * users[link]:
                tight, share = link, max(left[link], 0.0) / users[link]
        # The queues through that link are a row or a column of all queues, or among the active ones, whichever are fewer.
        count = n if tight >= 0 and n_active > n else n_active
        for at in range(count):
            if count == n_active:
                queue = active[at]
                if tight >= 0 and queue // n != tight and n + queue % n != tight:
                    continue
            else:
                queue = tight * n + at if tight < n else at * n + tight - n
            if flows[queue] > 0 and rate[queue] < 0:
                rate[queue] = share
                unset -= 1
                taken = share * flows[queue] if share < math.inf else 0.0
                left[queue // n] -= taken
                left[n + queue % n] -= taken
                users[queue // n] -= flows[queue]
                users[n + queue % n] -= flows[queue]
                missing = first[queue] - served[queue]
                ends[queue] = now + (missing / share if missing > 0 else 0.0)
                soonest = min(soonest, ends[queue])
    return soonest
