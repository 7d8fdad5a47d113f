"""The parts of an agent, each made alone, with the actions that they append."""

from __future__ import annotations

from headrace.graph.topology import Topology
from headrace.telemetry import Timing
from headrace.worker.agent.actions import Action
from headrace.worker.agent.datasets import Datasets
from headrace.worker.agent.grants import Grants
from headrace.worker.agent.jobs import Chain, HostJob, Segment
from headrace.worker.agent.memory import Memory
from headrace.worker.agent.report import JobReport
from headrace.worker.agent.serving import Serving
from headrace.worker.agent.spilling import Spilling
from headrace.worker.settings import Settings
from headrace_shm import Store
from headrace_shm.allocator import PAGE
from tests.unit.worker_world import graph_of

NAME = "job"


class Parts:
    """Everything that knows of datasets and memory, over one store of a few pages, without an agent."""

    def __init__(self, pages: int = 4, spills: bool = False) -> None:
        settings = Settings(host="h0")
        self.actions: list[Action] = []
        self.store: Store[int] = Store(pages * PAGE, 4 * pages * PAGE)
        self.disk = Spilling(self.store, self.actions, spills, settings)
        self.serving = Serving(self.store, self.actions, settings)
        self.grants = Grants(self.store, self.serving)
        self.memory = Memory(self.store, self.actions, self.disk, self.grants, settings)
        self.datasets = Datasets(self.memory, self.serving, settings)

    def decided(self) -> list[Action]:
        """The actions since the last call."""
        self.serving.outgoing.send()
        found, self.actions[:] = list(self.actions), ()
        return found


def job_of(inputs: list[list[int]], outputs: list[int] = [0]) -> HostJob:  # noqa: B006
    """A job with this graph, of which nothing is assigned."""
    graph = graph_of(inputs, outputs)
    return HostJob(1, NAME, graph, JobReport(NAME, "h0", 1, {}), [Timing()], Topology.from_spec(graph))


def segment_of(job: HostJob, task: int) -> Segment:
    """A chain with one task, assigned."""
    chain = Chain(job, task, {}, task)
    segment = Segment(task, chain, 0, [task], [1], job.task_inputs(task))
    chain.segments = (segment,)
    job.open(chain)
    return segment
