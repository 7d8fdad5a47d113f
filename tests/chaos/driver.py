"""One seed from its first process to its last."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from tests.chaos import checks
from tests.chaos.audit import Audited, audit, wait_until_up
from tests.chaos.client import Journal, run_client
from tests.chaos.consumers import Consumer, consumers_left, read_consumers, write_consumers
from tests.chaos.deployment import Deployment
from tests.chaos.injecting import inject
from tests.chaos.outcome import JobOutcome, Outcome
from tests.chaos.plan import Plan
from tests.chaos.recovery import Recovery, recovery
from tests.chaos.results import Done

UP_SECONDS = 30.0
JOB_SECONDS = 30.0
"""For all jobs of a client; a job that takes longer hangs."""
GRACE_SECONDS = 15.0
"""Beyond that, for a client that was stopped or started again."""
AUDIT_SECONDS = 40.0
CONSUMER_SECONDS = 12.0
"""A consumer that nobody listens to expires after 5 s."""
TURN_SECONDS = 0.005


@dataclass
class Report:
    """What became of a seed. problems: in sentences, by the check that found them. done: the faults that were done. seconds: in all."""

    plan: Plan
    outcome: Outcome
    problems: dict[str, list[str]]
    done: list[Done]
    seconds: float


class Driver:
    """Runs one plan in a folder, which has the logs afterwards."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self._faults: list[tuple[str, float]] = []
        """The faults that were done, with their moments by the wall clock."""
        self._audited = Audited([], [])
        self._began = 0.0
        """When the clients were started, by the wall clock."""

    def run(self) -> Report:
        """Run it to its end."""
        began = time.monotonic()
        shutil.rmtree(self.folder, ignore_errors=True)
        clients = [self._client(index) for index in range(len(self.plan.clients))]
        deployment = Deployment(self.folder, self.plan.topology, clients)
        try:
            outcome = self._run(deployment)
        finally:
            deployment.close()
        return Report(self.plan, outcome, checks.by_check(outcome), self._done(), round(time.monotonic() - began, 2))

    def _run(self, deployment: Deployment) -> Outcome:
        for service in deployment.services:
            deployment.start(service)
        if not self._child(deployment, "up", partial(wait_until_up, deployment.server.settings, self.plan.topology.hosts, UP_SECONDS)):
            return Outcome(missing=["the cluster did not come up"])
        before = self._consumers(deployment, "consumers-before")
        self._live(deployment)
        outcome = Outcome(jobs=self._told_of())
        outcome.consumers = self._consumers_left(deployment, before)
        self._audit(deployment, outcome)
        outcome.unplanned = [f"{end.service} with status {end.status} after {end.seconds:.1f} s" for end in deployment.unplanned]
        outcome.badly_ended = [f"{name} with status {status}" for name, status in deployment.end_services()]
        outcome.left = deployment.left()
        return outcome

    def _live(self, deployment: Deployment) -> None:
        """Start the clients, do the faults, and wait until the clients have ended for good."""
        self._began = time.time()
        clients = {self._client(index) for index in range(len(self.plan.clients))}
        for index in range(len(self.plan.clients)):
            self._start_client(deployment, index)
        began, faults = time.monotonic(), list(self.plan.faults)
        end = began + self.plan.soak + JOB_SECONDS + GRACE_SECONDS
        while clients and time.monotonic() < end:
            while faults and time.monotonic() >= began + faults[0].at:
                fault = faults.pop(0)
                moment = time.time()
                if inject(deployment, fault):
                    self._faults.append((fault.kind, moment))
            clients -= {name for name, _ in deployment.turn()}
            time.sleep(TURN_SECONDS)
        while (deployment.waits or deployment.helpers) and time.monotonic() < end:
            deployment.turn()
            time.sleep(TURN_SECONDS)

    def _start_client(self, deployment: Deployment, index: int) -> None:
        stop = self._began + self.plan.soak if self.plan.soak else float("inf")
        main = partial(run_client, self.plan.clients[index], self._journal(index), self.folder / "sinks", JOB_SECONDS, stop)
        deployment.fork(self._client(index), main, again=lambda: self._start_client(deployment, index))

    def _client(self, index: int) -> str:
        return f"client-{index}"

    def _journal(self, index: int) -> Path:
        return self.folder / "logs" / f"client-{index}.json"

    def _told_of(self) -> list[JobOutcome]:
        """What the clients wrote down of all jobs."""
        found = []
        for index, plans in enumerate(self.plan.clients):
            facts = Journal(self._journal(index)).read()
            ids = {fact["job"]: fact["id"] for fact in facts if fact["fact"] == "submitted"}
            ends = {fact["job"]: fact for fact in facts if fact["fact"] == "ended"}
            for number, plan in enumerate(plans):
                if self.plan.soak and number not in ids:
                    continue
                end = ends.get(number, {"verdict": "missing", "detail": "its client did not tell what became of it"})
                names = list(plan.graph.answers())
                found.append(
                    JobOutcome(name=plan.graph.name, id=ids.get(number, ""), verdict=end["verdict"], detail=end["detail"], outputs=names)
                )
        return found

    def _audit(self, deployment: Deployment, outcome: Outcome) -> None:
        sinks = {job.graph.name: self.folder / "sinks" / job.graph.name for jobs in self.plan.clients for job in jobs if job.sink}
        written = self.folder / "audit.json"
        if self._child(deployment, "audit", partial(audit, deployment.server.settings, outcome.jobs, sinks, written)):
            self._audited = msgspec.json.decode(written.read_bytes(), type=Audited)
            outcome.jobs = self._audited.jobs
        else:
            outcome.missing.append("the log could not be read: see audit.log")

    def _consumers_left(self, deployment: Deployment, before: list[Consumer]) -> list[str]:
        """What is wrong with consumers once those that a fault left behind have had the time to expire."""
        end = time.monotonic() + CONSUMER_SECONDS
        while (left := list(consumers_left(before, self._consumers(deployment, "consumers-after")))) and time.monotonic() < end:
            deployment.turn()
            time.sleep(TURN_SECONDS)
        return left

    def _consumers(self, deployment: Deployment, name: str) -> list[Consumer]:
        written = self.folder / f"{name}.json"
        self._child(deployment, name, partial(write_consumers, deployment.server.settings, written))
        return read_consumers(written)

    def _child(self, deployment: Deployment, name: str, main: partial[int]) -> bool:
        """Run something beside the cluster. Returns whether it ended well, in time."""
        deployment.fork(name, main)
        end = time.monotonic() + AUDIT_SECONDS + self.plan.soak
        while name in deployment.processes.pids and time.monotonic() < end:
            for ended, status in deployment.turn():
                if ended == name:
                    return status == 0
            time.sleep(TURN_SECONDS)
        return False

    def _done(self) -> list[Done]:
        facts = [fact for index in range(len(self.plan.clients)) for fact in Journal(self._journal(index)).read()]
        end = max((fact["time"] for fact in facts if fact["fact"] == "ended"), default=0.0)
        if self.plan.soak:  # what stands still in a soak may do so for any of its faults
            return [Done(kind=kind, recovery=Recovery(0.0, 0.0)) for kind, _ in self._faults]
        return [Done(kind=kind, recovery=recovery(moment, self._audited.made, end)) for kind, moment in self._faults]
