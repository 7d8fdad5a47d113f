"""A small world around the controller, without I/O: a log, hosts that run chains, a scheduler that places them, and things that go wrong.

Hosts and scheduler act on what they read in the log, late or soon; what they write arrives in any order, twice, or (from a dead host) too
late.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from headrace.bus import Entry
from headrace.controller.state import Controller
from headrace.ledger import ASKED, CONTROLLER, RELEASED, VALUE, JobLedger, Ledger
from headrace_schemas import (
    Assign,
    Ended,
    Events,
    FunctionSpec,
    GraphSource,
    GraphSpec,
    HostJoined,
    HostLost,
    Needed,
    Plan,
    Purge,
    Released,
    Submitted,
    TaskError,
    TermBegan,
    Written,
)
from tests.unit.purge_rules import assert_harmless, droppable

JOB = "job"


def graph(rnd: random.Random, n_tasks: int, retries: int = 2) -> GraphSpec:
    """A random graph: mostly single outputs, some generators, asked-for outputs among all datasets and always the sinks."""
    n_outputs, n_inputs, inputs, owner = [], [], [], []
    taken: set[int] = set()
    for task in range(n_tasks):
        chosen = sorted(rnd.sample(range(len(owner)), min(len(owner), rnd.choice([0, 1, 1, 2, 3])))) if owner else []
        inputs += chosen
        taken.update(chosen)
        n_inputs.append(len(chosen))
        n_outputs.append(3 if rnd.random() < 0.15 else 1)
        owner += [task] * n_outputs[-1]
    asked = sorted({d for d in range(len(owner)) if d not in taken or rnd.random() < 0.1})
    return GraphSpec(
        name="g", n_tasks=n_tasks, shape_hash="s", content_hash="c", function=[0] * n_tasks, n_outputs=n_outputs, n_inputs=n_inputs,
        inputs=inputs, outputs=asked, blocks=[b""], block_size=n_tasks,
        functions=[FunctionSpec(name="f", module="m", qualname="f", retries=retries)],
    )  # fmt: skip


@dataclass
class Chain:
    """A chain as a host works through it: the next task is tasks[at]."""

    id: int
    tasks: list[int]
    attempts: list[int]
    at: int = 0
    inside: set[int] = field(default_factory=set)


@dataclass
class Host:
    """What is really so on a host."""

    name: str
    epoch: int
    store: set[int] = field(default_factory=set)
    made: dict[int, int] = field(default_factory=dict)
    """The attempts that made what is in the store."""
    chains: list[Chain] = field(default_factory=list)
    read: int = 0
    outbox: list[Events] = field(default_factory=list)
    alive: bool = True
    lapsed: bool = False
    """Its lease ran out, which it does not know yet: it goes on in its old epoch."""
    term: int = 0
    """The newest term of a controller that it knows: earlier ones decide nothing."""


class World:
    """Everything, driven by one random generator. Rates are probabilities per step."""

    def __init__(self, seed: int, n_tasks: int, n_hosts: int, *, fail: float = 0.0, die: float = 0.0, lose: float = 0.0,
                 crash: float = 0.0, shuffle: float = 0.0, lapse: float = 0.0, retries: int = 2, late: bool = False) -> None:  # fmt: skip
        self.rnd = random.Random(seed)
        self.fail, self.die, self.lose, self.crash, self.shuffle, self.lapse = fail, die, lose, crash, shuffle, lapse
        self.log: list[Entry] = []
        self.reader = Ledger()
        """What somebody knows who has read all of the log."""
        self.now = 0.0
        self.spec = graph(self.rnd, n_tasks, retries)
        self.hosts: dict[str, Host] = {}
        self.epoch = 0
        self.term = 1
        self.controller = Controller(self.term)
        self.controller_read = 0
        self.controller_outbox: list[Any] = []
        self.late = late
        self.late_outbox: list[Any] = []
        """Decisions of controllers that were replaced, which come into the log yet."""
        self.ledger = Ledger()
        self.scheduler_read = 0
        self.pending: list[tuple[list[int], list[int]]] = []
        self.next_chain = 0
        self.planned = False
        self.n_deaths: dict[int, int] = defaultdict(int)
        self.n_raised: dict[int, int] = defaultdict(int)
        self.append(Submitted(job=JOB, name="g", n_tasks=n_tasks, graph=GraphSource(inline=self.spec)))
        for index in range(n_hosts):
            self.join(f"h{index}")

    # --- the log ---------------------------------------------------------------------------------------------------

    def append(self, message: Any) -> None:
        self.log.append(Entry(len(self.log) + 1, self.now, "", message))
        self.reader.fold(self.log[-1])

    def deliver(self, outbox: list[Any], in_order: bool = False) -> None:
        """Put one waiting message into the log; perhaps not the first, perhaps not for the last time.

        In order where their writer may die: then what it sent is there up to some message, and not beyond.
        """
        place = 0 if in_order or self.rnd.random() >= self.shuffle else self.rnd.randrange(len(outbox))
        self.append(outbox[place])
        if self.rnd.random() >= self.shuffle / 2:
            del outbox[place]

    # --- hosts -----------------------------------------------------------------------------------------------------

    def join(self, name: str, before: Host | None = None) -> None:
        """A host joins. before: the same one in its last epoch, if it brings back what it held: it says so first."""
        self.epoch += 1
        host = self.hosts[name] = Host(name, self.epoch, read=len(self.log), term=self.reader.terms[CONTROLLER])
        if before is not None:
            host.store, host.made = before.store, before.made
            self.bring_back(host, before)
        self.append(HostJoined(at=0, term=self.term, host=name, epoch=self.epoch, address="", runners=1, capacity=1))

    def lose_host(self, host: Host) -> None:
        """It goes, with some of what it wanted to say; later it is back, with nothing."""
        host.alive = False
        late = [events for events in host.outbox if self.rnd.random() < 0.5]
        for events in late[: len(late) // 2]:
            self.append(events)
        self.append(HostLost(at=0, term=self.term, host=host.name, epoch=host.epoch))
        for events in late[len(late) // 2 :]:
            self.append(events)
        self.join(host.name)

    def lapse_host(self, host: Host) -> None:
        """Its lease runs out while it goes on. Perhaps no controller saw it, and the log says nothing before it joins again."""
        host.lapsed = True
        if self.rnd.random() < 0.7:
            self.append(HostLost(at=0, term=self.term, host=host.name, epoch=host.epoch))

    def rejoin(self, host: Host) -> None:
        """It finds out: what it does is somebody else's, and what it said meanwhile counts for nothing; some of that comes later still.
        What it holds, it brings back, unless it was started anew."""
        late = [events for events in host.outbox if self.rnd.random() < 0.5]
        self.join(host.name, host if self.rnd.random() < 0.7 else None)
        for events in late:
            self.append(events)

    def bring_back(self, host: Host, before: Host) -> None:
        datasets = self.rnd.sample(sorted(host.store), len(host.store))
        half = self.rnd.randint(0, len(datasets))
        for part in (datasets[:half], datasets[half:]):
            attempts = [host.made[dataset] for dataset in part]
            self.append(self.events(host, rejoining=True, produced=part, produced_attempts=attempts, sizes=[1] * len(part)))
        for events in before.outbox:
            if events.done or events.chains or events.value_ids:
                kept = {name: getattr(events, name) for name in ("done", "done_attempts", "chains", "value_ids", "values", "written")}
                self.append(self.events(host, rejoining=True, **kept))

    def host_reads(self, host: Host) -> None:
        """Act on what the log has for this host."""
        for entry in self.log[host.read :]:
            message = entry.message
            if isinstance(message, TermBegan | Purge | Ended):
                if message.term < host.term:
                    continue
                host.term = message.term
            if isinstance(message, Assign) and message.host == host.name and message.epoch == host.epoch:
                self.take_assignment(host, message)
            elif isinstance(message, Purge) and message.host == host.name and message.epoch == host.epoch:
                self.take_purge(host, message)
            elif isinstance(message, Ended):
                self.take_end(host)
        host.read = len(self.log)

    def take_end(self, host: Host) -> None:
        """Nothing is kept but outputs whose values are not in the log."""
        flags = self.ledger_job().flag
        host.store = {dataset for dataset in host.store if flags[dataset] & (ASKED | VALUE) == ASKED}
        host.chains.clear()

    def take_assignment(self, host: Host, assign: Assign) -> None:
        start = 0
        for chain, length in zip(assign.chains, assign.lengths, strict=True):
            part = slice(start, start + length)
            start += length
            if all(chain != known.id for known in host.chains):
                host.chains.append(Chain(chain, assign.tasks[part], (assign.attempts or [0] * len(assign.tasks))[part]))

    def take_purge(self, host: Host, purge: Purge) -> None:
        """Drop, but for what an unfinished assignment here or a host that has no copy yet needs."""
        kept = [d for d in purge.datasets if d in host.store and self.still_wanted(host, d)]
        host.store.difference_update(d for d in purge.datasets if d not in kept)
        if kept:
            host.outbox.append(self.events(host, kept=kept))

    def still_wanted(self, host: Host, dataset: int) -> bool:
        return any(
            dataset in self.inputs(task)
            for other in self.hosts.values() if other is host or dataset not in other.store
            for chain in other.chains for task in chain.tasks[chain.at :]
        )  # fmt: skip

    def events(self, host: Host, **columns: Any) -> Events:
        return Events(job=JOB, host=host.name, epoch=host.epoch, **columns)

    def inputs(self, task: int) -> list[int]:
        return self.ledger_job().topology.inputs_of(task).tolist()

    def ledger_job(self) -> JobLedger:
        if JOB not in self.ledger.jobs:
            self.ledger.apply(self.log[0].message, 0.0)
        return self.ledger.jobs[JOB]

    def run_one(self, host: Host, faults: bool) -> None:
        """Run the next task of some chain, if its inputs are here or can be had."""
        runnable = [chain for chain in host.chains if chain.at < len(chain.tasks)]
        if not runnable:
            return
        chain = self.rnd.choice(runnable)
        task, attempt = chain.tasks[chain.at], chain.attempts[chain.at]
        if not self.fetch(host, chain, task):
            return
        if faults and self.rnd.random() < self.fail and self.n_raised[task] < 2:
            self.n_raised[task] += 1
            self.give_up(host, chain, task, attempt, "raised")
        elif faults and self.rnd.random() < self.die and self.n_deaths[task] < 2:
            self.n_deaths[task] += 1
            self.give_up(host, chain, task, attempt, self.rnd.choice(["runner_died", "out_of_memory"]))
        else:
            self.finish(host, chain, task, attempt)

    def fetch(self, host: Host, chain: Chain, task: int) -> bool:
        missing = [d for d in self.inputs(task) if d not in host.store and d not in chain.inside]
        for dataset in missing:
            holders = [other for other in self.hosts.values() if other.alive and not other.lapsed and dataset in other.store]
            if holders:
                host.store.add(dataset)
                host.made[dataset] = holders[0].made[dataset]
                host.outbox.append(self.events(host, copied=[dataset]))
            else:
                self.say_gone(dataset)
                return False
        return True

    def say_gone(self, dataset: int) -> None:
        """Whom the scheduler believes to have it says that it has not."""
        name = self.ledger_job().holder(dataset)
        if name and not any(dataset in events.gone for events in self.hosts[name].outbox):
            self.hosts[name].outbox.append(self.events(self.hosts[name], gone=[dataset]))

    def give_up(self, host: Host, chain: Chain, task: int, attempt: int, reason: str) -> None:
        chain.at = len(chain.tasks)
        error = TaskError(task=task, attempt=attempt, reason=reason, error="E")
        host.outbox.append(self.events(host, failed=[error]))

    def finish(self, host: Host, chain: Chain, task: int, attempt: int) -> None:
        topology = self.ledger_job().topology
        chain.at += 1
        made = list(topology.outputs_of(task))
        inside = [d for d in made if self.stays(chain, d)]
        chain.inside.update(inside)
        held = [d for d in made if d in self.spec.outputs and d not in self.spec.sunk]
        left = [d for d in made if d not in inside and (d in held or len(topology.consumers_of(d)))]
        host.store.update(left)
        host.made.update(dict.fromkeys(left, attempt))
        values = [d for d in held if self.rnd.random() < 0.3]
        one_by_one = self.rnd.random() < 0.5
        written = [self.write(host, dataset, attempt) for dataset in made if dataset in self.spec.sunk]
        if one_by_one:
            host.outbox += [self.events(host, written=[each]) for each in written]
            written = []
            for dataset in left:
                host.outbox.append(self.events(host, produced=[dataset], produced_attempts=[attempt], sizes=[1]))
        ended = chain.at == len(chain.tasks)
        columns = {} if one_by_one else {"produced": left, "produced_attempts": [attempt] * len(left), "sizes": [1] * len(left)}
        done = {"chains": [chain.id]} if ended and self.rnd.random() < 0.7 else {"done": [task], "done_attempts": [attempt]}
        host.outbox.append(self.events(host, **columns, **done, written=written, value_ids=values, values=[b"v"] * len(values)))

    def write(self, host: Host, dataset: int, attempt: int) -> Written:
        """Put an output into its sink, for worlds that have some."""
        raise NotImplementedError

    def stays(self, chain: Chain, dataset: int) -> bool:
        consumers = self.ledger_job().topology.consumers_of(dataset).tolist()
        return bool(consumers) and dataset not in self.spec.outputs and set(consumers) <= set(chain.tasks)

    # --- the scheduler ----------------------------------------------------------------------------------------------

    def schedule(self) -> None:
        """Read on in the log, plan what is new, assign what is pending."""
        end = self.rnd.randint(self.scheduler_read, len(self.log))
        for entry in self.log[self.scheduler_read : end]:
            self.ledger.fold(entry)
            if isinstance(entry.message, Needed):
                self.need(entry.message)
        self.scheduler_read = end
        alive = self.ledger.hosts.alive()
        if not alive:
            return
        if not self.planned:
            self.plan(alive)
        ready, later = [], []
        for chain in self.pending:
            (ready if self.rnd.random() < 0.6 else later).append(chain)
        self.pending = later
        for tasks, attempts in ready:
            self.assign(tasks, attempts, alive)

    def need(self, needed: Needed) -> None:
        for task, attempt in zip(needed.tasks, needed.attempts, strict=True):
            if self.ledger_job().attempts[task] == attempt:
                self.pending.append(([task], [attempt]))

    def plan(self, alive: list[str]) -> None:
        """Fuse some tasks along edges with one consumer, and place the chains anywhere."""
        self.planned = True
        topology = self.ledger_job().topology
        chains: list[list[int]] = []
        for task in range(self.spec.n_tasks):
            makers = {int(topology.producer[d]) for d in topology.inputs_of(task) if len(topology.consumers_of(int(d))) == 1}
            home = [chain for chain in chains if chain[-1] in makers and self.spec.n_outputs[chain[-1]] == 1
                    and topology.first_output[chain[-1]] not in self.spec.outputs]  # fmt: skip
            if home and self.rnd.random() < 0.8:
                home[0].append(task)
            else:
                chains.append([task])
        hosts = [self.rnd.randrange(len(alive)) for _ in chains]
        half = len(chains) // 2
        for part, (low, high) in enumerate(((0, half), (half, len(chains)))):
            self.append(Plan(
                at=0, term=1, job=JOB, planner="test", part=part, parts=2, hosts=alive, epochs=[0] * len(alive), first=low,
                lengths=[len(chain) for chain in chains[low:high]], tasks=[t for chain in chains[low:high] for t in chain],
                placed=hosts[low:high],
            ))  # fmt: skip
        self.pending = [(chain, [0] * len(chain)) for chain in chains]
        self.next_chain = len(chains)
        self.planned_ids = {chain[0]: index for index, chain in enumerate(chains)}
        self.planned_hosts = [alive[host] for host in hosts]

    def assign(self, tasks: list[int], attempts: list[int], alive: list[str]) -> None:
        job = self.ledger_job()
        if any(job.attempts[task] > attempt for task, attempt in zip(tasks, attempts, strict=True)):
            return
        if attempts[0] == 0 and not any(attempts):
            chain = self.planned_ids[tasks[0]]
            planned = self.planned_hosts[chain]
            host = planned if planned in alive else self.rnd.choice(alive)
        else:
            chain, self.next_chain = self.next_chain, self.next_chain + 1
            host = self.rnd.choice(alive)
        epoch = self.ledger.hosts[host].epoch
        self.append(Assign(
            at=0, term=1, job=JOB, host=host, epoch=epoch, hosts=list(job.hosts), addresses=[], chains=[chain], lengths=[len(tasks)],
            tasks=tasks, attempts=attempts if any(attempts) else [],
        ))  # fmt: skip

    # --- the controller ---------------------------------------------------------------------------------------------

    def control(self) -> list[Any]:
        """Fold a batch, decide, and check the decisions against the rules, said in the plainest way."""
        end = self.rnd.randint(self.controller_read, len(self.log))
        for entry in self.log[self.controller_read : end]:
            self.controller.fold(entry)
        self.controller_read = end
        decisions = self.controller.decide(end)
        self.controller_outbox += decisions
        self.controller_outbox += self.controller.due(self.now)
        job = self.controller.ledger.jobs.get(JOB)
        if job is not None and job.end is None:
            assert not droppable(job), "a copy can be dropped and is not"
        for decision in decisions:
            if isinstance(decision, Purge) and job is not None and job.end is None:
                assert_harmless(job, decision)
        return decisions

    def restart_controller(self) -> None:
        """The controller dies with some decisions not published, or on their way; the next one reads the log from its beginning."""
        sent = self.rnd.randint(0, len(self.controller_outbox))
        for decision in self.controller_outbox[:sent]:
            self.append(decision)
        if self.late:
            self.late_outbox += self.controller_outbox[sent : self.rnd.randint(sent, len(self.controller_outbox))]
        self.controller_outbox = []
        self.term += 1
        self.append(TermBegan(at=len(self.log), term=self.term, service="controller"))
        self.controller = Controller(self.term)
        for entry in self.log:
            self.controller.fold(entry)
        self.controller_read = len(self.log)

    # --- all together ------------------------------------------------------------------------------------------------

    def step(self, faults: bool = True) -> None:
        rnd = self.rnd
        self.now += 0.05
        if faults and rnd.random() < self.lose:
            self.lose_host(rnd.choice(list(self.hosts.values())))
        if faults and self.lapse and rnd.random() < self.lapse:
            self.lapse_host(rnd.choice(list(self.hosts.values())))
        if faults and rnd.random() < self.crash:
            self.restart_controller()
        for host in list(self.hosts.values()):
            if host.lapsed and rnd.random() < (0.1 if faults else 1.0):
                self.rejoin(host)
        while self.late_outbox and rnd.random() < 0.5:
            self.append(self.late_outbox.pop(0))
        what = rnd.random()
        if what < 0.25:
            self.schedule()
        elif what < 0.5:
            self.control()
        elif what < 0.6 and self.controller_outbox:
            self.deliver(self.controller_outbox, in_order=self.crash > 0)
        else:
            host = rnd.choice(list(self.hosts.values()))
            if host.outbox and rnd.random() < 0.4:
                self.deliver(host.outbox)
            else:
                self.host_reads(host)
                self.run_one(host, faults)

    def run(self, steps: int = 300, drain: int = 20_000) -> str:
        """Steps with faults, then without until the job has ended. Returns how."""
        for _ in range(steps):
            if self.ended():
                break
            self.step()
        for _ in range(drain):
            if self.ended():
                self.flush()
                return self.ended()
            self.step(faults=False)
        raise AssertionError(f"the job does not end: {self.controller.ledger.jobs[JOB].status()}")

    def settle(self, steps: int = 20_000) -> JobLedger:
        """Nothing goes wrong any more, everything late arrives, and everybody reads it. Returns the job as the controller knows it then."""
        for _ in range(steps):
            job = self.controller.ledger.jobs[JOB]
            is_over = job.end is not None and not job.reopened and not (job.end.state == "done" and job.n_missing)
            is_read = self.controller_read == self.scheduler_read == len(self.log)
            if is_over and is_read and not self.controller_outbox and not self.late_outbox:
                return job
            self.step(faults=False)
        raise AssertionError(f"the world does not come to rest: {job.status()}")

    def flush(self) -> None:
        """What the controller published arrives, late or not: a message is sent until it is acknowledged."""
        while self.controller_outbox:
            self.deliver(self.controller_outbox, in_order=self.crash > 0)

    def ended(self) -> str:
        job = self.reader.jobs[JOB]
        return job.end.state if job.end is not None else ""

    def release(self) -> None:
        """The client has everything; the controller says what can be dropped."""
        self.append(Released(at=0, term=self.term, job=JOB))
        self.controller_read, batch = len(self.log), self.log[self.controller_read :]
        for entry in batch:
            self.controller.fold(entry)
        self.controller_outbox += self.controller.decide(len(self.log))
        self.flush()


def told(job: JobLedger) -> tuple[object, ...]:
    """What a client can know of a job."""
    held = [output for output in job.outputs() if job.flag[output] & (ASKED | RELEASED | VALUE) == ASKED]
    return job.phase, job.reopened, job.n_missing, list(job.attempts), {output: job.holder(output) for output in held}
