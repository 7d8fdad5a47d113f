"""The runner's state under frames in any order: each segment, input, slab and answer is accounted for once."""

from __future__ import annotations

from collections import Counter
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headrace.runner.protocol import NEVER, NO_ROOM_YET, Closed, CloseJob, GrantSlab, Recall, Released
from headrace.runner.segments import Segment
from headrace.runner.state import RunnerState
from headrace.runner.waiting import WaitingResult
from tests.unit.runner_frames import N_TASKS, grant, open_job, run, waiting_result

JOBS = st.integers(1, 3)
DATASETS = st.integers(0, N_TASKS - 1)


class AnyOrder(RuleBasedStateMachine):
    """Frames and the runner's own steps, in any order. What should happen is kept in plain sets and lists."""

    def __init__(self) -> None:
        super().__init__()
        self.state = RunnerState()
        self.ids = count(1)
        self.blocks = count(1_000)
        self.open: set[int] = set()
        self.expected: list[tuple[int, int, int]] = []
        """Segments to execute, in this order: job, chain, id."""
        self.failed: set[tuple[int, int]] = set()
        """Chains of open jobs: job, chain."""
        self.executed: list[int] = []
        self.sent_blocks: Counter[int] = Counter()
        self.decoded: Counter[int] = Counter()
        self.released: Counter[int] = Counter()
        self.answers: list[Closed] = []
        self.expected_answers: list[Closed] = []
        self.waiting: dict[tuple[int, int], WaitingResult] = {}
        self.expected_results: list[WaitingResult] = []
        self.stored: list[WaitingResult] = []
        self.slabs_asked = 0

    # --- frames -------------------------------------------------------------------------------------------------------

    @rule(job=JOBS)
    def open_job(self, job: int) -> None:
        if job not in self.open:
            self.open.add(job)
            self.state.feed([open_job(job)])

    @rule(job=JOBS, n_inputs=st.lists(st.integers(0, 2), min_size=1, max_size=4), chain=st.integers(1, 5))
    def run(self, job: int, n_inputs: list[int], chain: int) -> None:
        segments = [next(self.ids) for _ in n_inputs]
        blocks = {segment: [next(self.blocks) for _ in range(n)] for segment, n in zip(segments, n_inputs, strict=True)}
        self.sent_blocks.update(block for each in blocks.values() for block in each)
        self.state.feed([run(*segments, job=job, chain=chain, blocks=blocks, first=segments[0])])
        if job in self.open:
            self.expected += [(job, chain, segment) for segment in segments if (job, chain) not in self.failed]

    @rule(number=st.integers(1, 9), segments=st.sets(st.integers(1, 30)))
    def recall(self, number: int, segments: set[int]) -> None:
        self.state.feed([Recall(number, sorted(segments))])
        self.expected = [each for each in self.expected if each[2] not in segments]
        assert self.state.recalled == number

    @rule(job=JOBS, quietly=st.booleans())
    def close(self, job: int, quietly: bool) -> None:
        self.open.discard(job)
        self.failed = {each for each in self.failed if each[0] != job}
        self.state.feed([CloseJob(job, quietly)])
        self.expected = [each for each in self.expected if each[0] != job]
        self.expected_results = [each for each in self.expected_results if each.key[0] != job]
        self.waiting = {key: result for key, result in self.waiting.items() if key[0] != job}
        self.expected_answers += [] if quietly else [Closed(job)]

    @rule(job=JOBS, dataset=DATASETS, offset=st.sampled_from([0, 4096, NEVER, NO_ROOM_YET]))
    def grant(self, job: int, dataset: int, offset: int) -> None:
        self.state.feed([grant(dataset, offset, job)])
        if offset != NO_ROOM_YET and (job, dataset) in self.waiting:
            self.expected_results.append(self.waiting.pop((job, dataset)))

    @rule(data=st.data(), offset=st.sampled_from([0, NEVER]))
    def grant_one_that_waits(self, data: st.DataObject, offset: int) -> None:
        if self.waiting:
            job, dataset = data.draw(st.sampled_from(sorted(self.waiting)))
            self.grant(job, dataset, offset)

    @rule()
    def grant_slab(self) -> None:
        if self.slabs_asked:
            self.slabs_asked -= 1
            block = next(self.blocks)
            self.sent_blocks[block] += 1
            self.state.feed([GrantSlab(block, 0, 64)])

    # --- the runner ---------------------------------------------------------------------------------------------------

    @rule(waits=st.booleans(), fails=st.booleans())
    def step(self, waits: bool = False, fails: bool = False) -> None:
        step = self.state.next()
        if isinstance(step, Segment):
            self.executed.append(step.id)
            assert (step.job.number, step.chain, step.id) == self.expected.pop(0)
            self.decoded.update(location[0] for location in step.locations if not isinstance(location, bytes))
            if waits:
                self._wait(step)
            if fails:
                step.job.dead_chains.add(step.chain)
                self.failed.add((step.job.number, step.chain))
                self.expected = [each for each in self.expected if each[:2] != (step.job.number, step.chain)]
        elif step is not None:
            self.stored.append(step.result)
            assert step.result is self.expected_results.pop(0)
        else:
            assert (self.expected, self.expected_results) == ([], [])

    def _wait(self, segment: Segment) -> None:
        result = waiting_result(segment.job, segment.task, segment.id)
        if result.key not in self.waiting:
            self.waiting[result.key] = result
            self.state.keep_waiting(result)

    @rule()
    def put_back(self) -> None:
        step = self.state.next() if not self.expected_results else None
        if isinstance(step, Segment):
            self.state.put_back(step)

    @rule()
    def ask_slab(self) -> None:
        self.state.ask_slab()
        self.slabs_asked += 1

    @rule()
    def take_slab(self) -> None:
        slab = self.state.take_slab()
        assert slab is None or not self.slabs_asked, "an answer to an earlier question"
        if slab is not None:
            self.decoded[slab.block] += 1

    @rule()
    def end_closed(self) -> None:
        self.answers += self.state.end_closed()
        assert self.answers == self.expected_answers

    @rule()
    def send(self) -> None:
        for frame in self.state.outbox.take():
            assert isinstance(frame, Released)
            self.released.update(dict(zip(frame.blocks, frame.counts, strict=True)))

    @invariant()
    def nothing_is_used_and_released_too(self) -> None:
        assert not (self.decoded + self.released) - self.sent_blocks

    def teardown(self) -> None:
        while self.slabs_asked:
            self.grant_slab()
        self.take_slab()
        while self.expected or self.expected_results:
            self.step()
        self.step()
        self.end_closed()
        self.send()
        assert self.decoded + self.released == self.sent_blocks
        assert len(set(self.executed)) == len(self.executed)
        assert len({id(result) for result in self.stored}) == len(self.stored)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
