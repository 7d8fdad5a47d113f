"""What happens in a seed: the cluster, its clients with their jobs, and the faults with their moments. Nothing here does anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from tests.chaos.faults import CENTRAL, KINDS, Kind
from tests.chaos.graphs import BYTES, HEAVY, GraphPlan, draw_graph

WORK_SECONDS = (1.0, 3.0)
"""Work for each runner, as far as it can be spread evenly."""
FAULT_SHARE = (0.05, 0.9)
"""When a fault begins: shares of the time that the work takes without faults, after the clients have started."""
SOAK_EVERY = 3.0
"""Seconds between faults in a soak."""
SINK_SHARE = 0.3
STANDBY_SHARE = 0.3


@dataclass(frozen=True)
class Topology:
    """The processes of a cluster. standbys: whether there are two of each central service. limits: what the harness limits, see `Kind`."""

    hosts: int
    runners: int
    standbys: bool
    limits: frozenset[str] = frozenset()

    @property
    def small(self) -> bool:
        """Whether stores of hosts have less room than the jobs take, so that data is moved to disk."""
        return bool(self.limits & {"shm", "spill"})

    @property
    def copies(self) -> int:
        """Of each central service."""
        return 2 if self.standbys else 1


@dataclass(frozen=True)
class JobPlan:
    """A job: its graph, and whether its outputs go to a sink."""

    graph: GraphPlan
    sink: bool


@dataclass(frozen=True)
class Fault:
    """One fault. at: seconds after the clients' start. seconds: until it is undone. target: a process, or a link of one."""

    kind: str
    target: str
    at: float
    seconds: float


@dataclass(frozen=True)
class Plan:
    """One seed. soak: seconds for which clients go on to submit jobs; 0: they submit all at once."""

    seed: int
    topology: Topology
    clients: tuple[tuple[JobPlan, ...], ...]
    faults: tuple[Fault, ...]
    soak: float = 0.0

    @property
    def kinds(self) -> set[str]:
        """The kinds of its faults."""
        return {fault.kind for fault in self.faults}


def draw_plan(seed: int, kinds: Sequence[str]) -> Plan:
    """The plan of a seed, with faults of these kinds. The same arguments give the same plan."""
    random = Random(f"{seed} {','.join(kinds)}")
    chosen = _draw_kinds(random, [KINDS[name] for name in kinds])
    limits = frozenset(kind.limits for kind in chosen if kind.limits)
    topology = Topology(random.randint(2, 3), random.randint(1, 2), random.random() < STANDBY_SHARE, limits)
    work = random.uniform(*WORK_SECONDS)
    clients = _draw_clients(random, work * topology.hosts * topology.runners, HEAVY if topology.small else BYTES)
    faults = [_draw_fault(random, topology, kind, len(clients), work) for kind in chosen]
    return Plan(seed, topology, clients, tuple(sorted(faults, key=lambda fault: fault.at)))


def draw_soak(seed: int, kinds: Sequence[str], seconds: float) -> Plan:
    """The plan of a soak: one cluster for some seconds, with a fault every few seconds, each over before the next but one."""
    random = Random(f"soak {seed} {','.join(kinds)}")
    topology = Topology(hosts=3, runners=1, standbys=True)
    clients = tuple(
        tuple(
            JobPlan(draw_graph(random, f"c{client}-j{job}", random.uniform(*WORK_SECONDS)), random.random() < SINK_SHARE)
            for job in range(int(seconds))
        )
        for client in range(2)
    )
    drawn = [_draw_fault(random, topology, KINDS[random.choice(list(kinds))], len(clients), 1.0) for _ in range(int(seconds / SOAK_EVERY))]
    faults = [
        Fault(fault.kind, fault.target, SOAK_EVERY * (index + 1), min(fault.seconds, 2 * SOAK_EVERY)) for index, fault in enumerate(drawn)
    ]
    return Plan(seed, topology, clients, tuple(faults), seconds)


def _draw_kinds(random: Random, kinds: Sequence[Kind]) -> list[Kind]:
    """One to three faults, mostly of one kind: times of recovery say something about a kind only where it is alone."""
    chosen = random.sample(kinds, min(len(kinds), random.choice((1, 1, 1, 2, 3))))
    return [chosen[index % len(chosen)] for index in range(max(len(chosen), random.choice((1, 1, 2))))]


def _draw_clients(random: Random, seconds: float, sizes: Mapping[int, int]) -> tuple[tuple[JobPlan, ...], ...]:
    """One or two clients with one to three jobs each, which have so many seconds of work together."""
    jobs = [random.randint(1, 3) for _ in range(random.randint(1, 2))]
    return tuple(
        tuple(
            JobPlan(draw_graph(random, f"c{client}-j{job}", seconds / sum(jobs), sizes), random.random() < SINK_SHARE)
            for job in range(count)
        )
        for client, count in enumerate(jobs)
    )


def _draw_fault(random: Random, topology: Topology, kind: Kind, clients: int, work: float) -> Fault:
    return Fault(
        kind.name,
        random.choice(targets(topology, kind.target, clients)),
        round(work * random.uniform(*FAULT_SHARE), 3),
        round(random.uniform(*kind.lasts), 3),
    )


def targets(topology: Topology, target: str, clients: int) -> list[str]:
    """The names of the processes that a fault may be done to. target: worker, client, central (one of all central services), the name of
    a central service, a link of one of them to NATS, or to a host's data, or what there is one of."""
    hosts = [f"host-{index}" for index in range(topology.hosts)]
    users = [f"client-{index}" for index in range(clients)]
    if target == "nats link":
        return [f"nats {name}" for name in (*hosts, *users, *targets(topology, "central", clients))]
    if target == "data link":
        return [f"data {name}" for name in hosts]
    if target == "worker":
        return hosts
    if target == "client":
        return users
    if target == "central" or target in CENTRAL:
        return [f"{name}-{copy}" for name in CENTRAL if target in ("central", name) for copy in range(topology.copies)]
    return [target]
