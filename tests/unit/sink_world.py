"""The controller's world with outputs that go to sinks, and a publisher that commits them: it may be late, die at any moment, and find that
what was written is not there."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any

from headrace.publisher.commits import Action, Remove, Sweep
from headrace.publisher.settings import Settings
from headrace.publisher.state import Announcement, Publisher
from headrace_schemas import Published, SinkSpec, Written
from tests.unit.controller_world import JOB, Host, World


class SinkWorld(World):
    """refuse: probability that a part is gone when it is to be committed, at most twice for an output."""

    def __init__(self, seed: int, n_tasks: int, n_hosts: int, *, refuse: float = 0.0, **rates: float) -> None:
        super().__init__(seed, n_tasks, n_hosts, **rates)
        rnd = random.Random(seed + 1)
        self.spec.sinks = [SinkSpec(path="out")]
        self.spec.sunk = sorted(dataset for dataset in self.spec.outputs if rnd.random() < 0.7)
        self.spec.sink = [0] * len(self.spec.sunk)
        self.refuse = refuse
        self.parts: dict[str, str] = {}
        self.files: dict[str, str] = {}
        self.n_written = 0
        self.n_refused: dict[int, int] = defaultdict(int)
        self.publisher_term = 0
        self.actions: list[Action] = []
        self.batches: list[Announcement] = []
        self.last = [0, 0]
        self.restart_publisher()

    def write(self, host: Host, dataset: int, attempt: int) -> Written:
        """Under the names that follow from the job. Those in the message are lies: nobody is to believe them."""
        self.n_written += 1
        other = self.rnd.choice(self.spec.sunk)
        written = Written(
            dataset=dataset, attempt=attempt, write=f"{host.epoch}.{self.n_written}", part="/etc/passwd", location=f"out/f-{other}.npy",
            bytes=1, checksum=f"{dataset}.{attempt}.{self.n_written}", encoding="npy",
        )  # fmt: skip
        self.parts[self.ledger_job().placing.placed(written, host.name, {}).part] = written.checksum
        return written

    def lead_to_one_file(self) -> None:
        """All outputs in sinks have one place."""
        self.spec.sinks[0] = SinkSpec(path="out/same.npy")

    # --- the publisher ------------------------------------------------------------------------------------------------

    def restart_publisher(self) -> None:
        """A new publisher reads the log; what the one before had under way in its sink is lost, what it sent may still arrive."""
        self.publisher_term += 1
        self.publisher = Publisher(Settings(), self.publisher_term)
        self.publisher.fold(self.log)
        self.publisher_read = len(self.log)
        self.actions = []
        self._decide()

    def _decide(self) -> None:
        self.batches += self.publisher.decide()
        self.actions += self.publisher.take_actions()

    def publish(self) -> None:
        """One thing of all that a publisher does."""
        rnd = self.rnd
        what = rnd.random()
        if what < 0.4:
            end = rnd.randint(self.publisher_read, len(self.log))
            self.publisher.fold(self.log[self.publisher_read : end])
            self.publisher_read = end
            self._decide()
        elif what < 0.7 and self.actions:
            self.carry_out(self.actions.pop(rnd.randrange(len(self.actions))))
        elif self.batches:
            self.store(self.batches.pop(0))

    def carry_out(self, action: Action) -> None:
        """In the sink, and tell the publisher; unless it dies in between."""
        if isinstance(action, Remove):
            self.parts.pop(action.part, None)
            return
        if isinstance(action, Sweep):
            self.parts.clear()
            return
        written = action.written
        if self.rnd.random() < self.refuse and self.n_refused[written.dataset] < 2 and written.part in self.parts:
            self.n_refused[written.dataset] += 1
            self.parts.pop(written.part, None)
        error = self.commit(written)
        if self.rnd.random() < self.crash:
            self.restart_publisher()
        else:
            self.publisher.carried_out(action, error)
            self._decide()

    def commit(self, written: Written) -> str:
        if written.part in self.parts:
            self.files[written.location] = self.parts.pop(written.part)
            return ""
        return "" if self.files.get(written.location) == written.checksum else "gone"

    def store(self, batch: Announcement) -> None:
        """The stream takes a batch that comes after the one that it names; whoever leads and hears that it did not, folds anew."""
        sunk = bool(batch.message.failed or batch.message.outputs[0].location)
        if self.last[sunk] != batch.after:
            if batch.message.term == self.publisher_term:
                self.restart_publisher()
            return
        self.append(batch.message)
        self.last[sunk] = len(self.log)
        if batch.message.term == self.publisher_term:
            self.publisher.stored(batch.message, len(self.log))
            self._decide()

    # --- all together -------------------------------------------------------------------------------------------------

    def step(self, faults: bool = True) -> None:
        if faults and self.rnd.random() < self.crash:
            self.restart_publisher()
        if not faults:
            self.refuse = self.crash = 0.0
        self.publish()
        super().step(faults)

    def settle(self) -> None:
        """Everything that hosts have to say is said, and the publisher does everything that follows."""
        for host in self.hosts.values():
            while host.outbox:
                self.deliver(host.outbox)
        for _ in range(10_000):
            if self.publisher_read == len(self.log) and not self.actions and not self.batches:
                return
            self.publish()
        raise AssertionError("the publisher does not come to rest")

    def published(self) -> Counter[int]:
        """How often each output in a sink was announced."""
        messages: list[Any] = [entry.message for entry in self.log if isinstance(entry.message, Published) and entry.message.job == JOB]
        return Counter(output.dataset for message in messages for output in message.outputs if output.location)

    def announced_checksums(self) -> dict[str, str]:
        messages: list[Any] = [entry.message for entry in self.log if isinstance(entry.message, Published)]
        return {output.location: output.checksum for message in messages for output in message.outputs if output.location}
