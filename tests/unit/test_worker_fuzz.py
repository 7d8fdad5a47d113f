"""Whatever runners, hosts and clients send to an agent: it goes on, its facts stay readable, and nothing stays taken in its store."""

from __future__ import annotations

import ast
import random
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace
from headrace.link import frames
from headrace.runner import protocol
from headrace.worker.agent import actions
from headrace.worker.agent import events as ev
from headrace.worker.agent.early import MOST_EARLY, EarlyWants
from headrace.worker.agent.outgoing import MOST_IDS
from headrace_schemas import LogMessage, TaskError, decoder, encode
from headrace_schemas.streams import INLINE_VALUE_BYTES, MAX_MESSAGE_BYTES
from tests.unit.worker_world import JOB, ModelRunner, World, expected_value

FUZZ = settings(deadline=None, derandomize=True, database=None)
INPUTS = [[], [], [0, 1], [2], [3, 1], [0], [5, 4], [6]]
OUTPUTS = [5, 7]
LARGE = {1: 20_000, 3: 9_000, 5: 50_000}
CHAINS = [[0], [1], [2, 3], [4], [5], [6, 7]]
N = len(INPUTS)
NUMBER = 1
"""The agent's number for the first job."""
STRANGER = 77
"""Number of a peer that nobody knows."""
_readable = decoder(LogMessage)


def world_of(hosts: int = 1, runners: int = 2, world: type[World] = World) -> World:
    made = world(INPUTS, OUTPUTS, LARGE, hosts, runners, 1 << 18)
    made.assign(CHAINS, [k % hosts for k in range(len(CHAINS))], list(range(len(CHAINS))))
    return made


def expect_all_done(world: World) -> None:
    assert sorted(world.done_chains()) == list(range(len(CHAINS)))
    expected = {dataset: expected_value(INPUTS, dataset, {}) for dataset in OUTPUTS if dataset not in LARGE}
    assert world.values() == expected
    assert not [error for events in world.events for error in events.failed]


def expect_readable_facts(world: World) -> None:
    """What is published can be read by every service, and names nothing that is not in the graph."""
    for events in world.events:
        again = _readable.decode(encode(events))
        for ids in (again.done, again.started, again.produced, again.value_ids, again.metadata_ids, again.gone, again.copied):
            assert all(0 <= id < N for id in ids)
        assert all(0 <= error.task < N for error in again.failed)


def expect_nothing_left(world: World) -> None:
    world.end("failed")
    for (name, slot), _ in world.runners.items():
        world.agents[name].handle(ev.RunnerDied(slot, None, -9, 1))
    world.pump()
    for agent in world.agents.values():
        for peer in (STRANGER, *range(len(world.names))):
            agent.handle(ev.PeerLeft(peer))
        for host in (*world.names, "evil"):
            agent.handle(ev.HostUnreachable(host))
        assert agent.memory.store.used == 0
        assert not agent.serving.sending
        assert not agent.peers._early_wants


# --- the stream of a runner -------------------------------------------------------------------------------------------

RESULTS = protocol.Results(
    1, segments=[1], datasets=[0], values=[b"x"], metadata_ids=[0], metadata=[{"a": [1]}], typed=[0], dtypes=["i1"], shapes=[[2]]
)


@FUZZ
@given(st.binary(max_size=200), st.integers(1, 7))
def test_noise_from_a_runner_is_refused_or_waited_for(noise, size):
    buffer = protocol.FrameBuffer()
    for start in range(0, len(noise), size):
        try:
            buffer.feed(noise[start : start + size])
            buffer.to_agent()
        except (ValueError, msgspec.DecodeError, RecursionError):
            return


@FUZZ
@given(st.data())
def test_changed_frames_are_refused_or_frames(data):
    stream = bytearray(
        b"".join(protocol.pack(frame) for frame in (RESULTS, protocol.Allocate(1, 0, 9_000, 1), protocol.Released([1], [2])))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    buffer = protocol.FrameBuffer()
    buffer.feed(stream[: data.draw(st.integers(0, len(stream)))])
    try:
        assert all(isinstance(frame, protocol.ToAgent) for frame in buffer.to_agent())
    except (ValueError, msgspec.DecodeError, RecursionError):
        return


def test_a_length_beyond_the_limit_is_refused_before_its_bytes_come():
    buffer = protocol.FrameBuffer()
    buffer.feed(protocol.LENGTH.pack(protocol.AGENT_FRAME_LIMIT + 1))
    with pytest.raises(ValueError, match="out of step"):
        buffer.to_agent()


def test_a_frame_nested_without_end_is_refused():
    body = msgspec.msgpack.encode(RESULTS).replace(msgspec.msgpack.encode([1]), b"\x91" * 200_000 + b"\x01", 2)
    buffer = protocol.FrameBuffer()
    buffer.feed(protocol.LENGTH.pack(len(body)) + body)
    with pytest.raises((ValueError, msgspec.DecodeError, RecursionError)):
        buffer.to_agent()


def test_a_truncated_frame_is_waited_for_whatever_its_parts():
    whole = protocol.pack(RESULTS)
    buffer = protocol.FrameBuffer()
    for at in range(len(whole) - 1):
        buffer.feed(whole[at : at + 1])
        assert buffer.to_agent() == []
    buffer.feed(whole[-1:])
    assert buffer.to_agent() == [RESULTS]


# --- what runners say -------------------------------------------------------------------------------------------------

ids = st.one_of(st.integers(0, N), st.integers(-2, 12), st.sampled_from([-(2**63), 2**40, 2**63, 2**64 - 1]))
columns = st.lists(ids, max_size=4)
numbers = st.one_of(st.floats(), st.floats(0, 1))
errors = st.builds(TaskError, task=ids, attempt=st.sampled_from([0, 0, 1, -1]), error=st.text(max_size=3), pickled=st.binary(max_size=3))
metadata = st.dictionaries(st.text(max_size=2), st.one_of(ids, st.binary(max_size=3), st.floats(), columns), max_size=2)
results = st.builds(
    protocol.Results, st.sampled_from([NUMBER, NUMBER, 0, 2, -1]), columns, columns, columns,
    st.lists(st.one_of(st.binary(max_size=4), ids, st.just(bytes(INLINE_VALUE_BYTES + 1))), max_size=4), columns,
    st.lists(metadata, max_size=3), st.lists(st.sampled_from([0, 0, 1, -1]), max_size=2), columns, st.lists(numbers, max_size=2),
    st.lists(numbers, max_size=2), st.lists(errors, max_size=2), columns,
)  # fmt: skip
one_result = st.builds(lambda d, value, s: protocol.Results(NUMBER, [s], [], [d], [value]), ids, st.one_of(st.binary(max_size=4), ids), ids)
one_failure = st.builds(lambda error, s: protocol.Results(NUMBER, failed=[error], failed_segments=[s]), errors, ids)
allocations = st.builds(protocol.Allocate, st.sampled_from([NUMBER, NUMBER, 2]), ids, st.one_of(ids, st.integers(8_193, 1 << 20)), ids)
releases = st.builds(protocol.Released, columns, columns)
slab_allocations = st.builds(protocol.AllocateSlab, st.one_of(ids, st.integers(8_193, 1 << 20)))
from_runner = st.one_of(results, one_result, one_failure, allocations, releases, slab_allocations)


def say(world: World, slot: int, frame: protocol.ToAgent) -> bool:
    """A runner says this over its socket; False if it is replaced for it, as the service would do."""
    agent, buffer = world.agents["h0"], protocol.FrameBuffer()
    buffer.feed(protocol.pack(frame))
    try:
        (frame,) = buffer.to_agent()
        agent.handle(ev.RunnerSent(slot, [frame]))
    except (ValueError, msgspec.DecodeError):
        replace(world, slot)
        return False
    return True


def replace(world: World, slot: int) -> None:
    agent = world.agents["h0"]
    agent.handle(ev.RunnerDied(slot, None, -9, 1))
    world.pump()
    world.runners["h0", slot] = ModelRunner(world, "h0", slot)
    agent.handle(ev.RunnerStarted(slot))


@settings(FUZZ, max_examples=300)
@given(st.lists(from_runner, max_size=12), st.randoms(use_true_random=False))
def test_a_runner_may_say_anything(said, rng):
    world = world_of()
    for frame in said:
        for _ in range(rng.randrange(3)):
            world.step(rng)
        say(world, 1, frame)
        world.tick(0.3)
        world.agents["h0"].handle(ev.Executing([(NUMBER, rng.choice([-1, 0, N, 1 << 40])), (9, 0)]))
        world.pump()
    replace(world, 1)
    world.run(rng)
    expect_readable_facts(world)
    expect_nothing_left(world)


def failure(**fields: object) -> TaskError:
    return TaskError(**{"task": 0, **fields})  # type: ignore[arg-type]


def unencodable() -> dict[str, object]:
    return {"a": msgspec.msgpack.Ext(1, b"")}


R = protocol.Results
FORBIDDEN = [
    R(NUMBER, datasets=[0]),
    R(NUMBER, datasets=[N], values=[b"x"]),
    R(NUMBER, datasets=[-1], values=[b"x"]),
    R(NUMBER, datasets=[0, 2**63], values=[b"x", b"y"]),
    R(NUMBER, datasets=[0], values=[bytes(INLINE_VALUE_BYTES + 1)]),
    R(NUMBER, tasks=[N]),
    R(NUMBER, tasks=[-1]),
    R(NUMBER, metadata_ids=[0]),
    R(NUMBER, metadata_ids=[-1], metadata=[{}]),
    R(NUMBER, metadata_ids=[0], metadata=[unencodable()]),
    R(NUMBER, metadata_ids=[0], metadata=[{"a": "x" * MAX_MESSAGE_BYTES}]),
    R(NUMBER, functions=[1], function_counts=[1], function_seconds=[1.0], function_longest=[1.0]),
    R(NUMBER, functions=[-1], function_counts=[1], function_seconds=[1.0], function_longest=[1.0]),
    R(NUMBER, functions=[0], function_counts=[0], function_seconds=[1.0], function_longest=[1.0]),
    R(NUMBER, functions=[0], function_counts=[2**63], function_seconds=[1.0], function_longest=[1.0]),
    R(NUMBER, functions=[0], function_counts=[1], function_seconds=[float("nan")], function_longest=[1.0]),
    R(NUMBER, functions=[0], function_counts=[1], function_seconds=[-1.0], function_longest=[1.0]),
    R(NUMBER, functions=[0], function_counts=[1], function_seconds=[1.0], function_longest=[float("inf")]),
    R(NUMBER, functions=[0], function_counts=[1], function_seconds=[1.0]),
    R(NUMBER, failed=[failure()]),
    R(NUMBER, failed=[failure(task=7)], failed_segments=[1]),
    R(NUMBER, failed=[failure(attempt=1)], failed_segments=[1]),
    R(NUMBER, failed=[failure(traceback="x" * MAX_MESSAGE_BYTES)], failed_segments=[1]),
    protocol.Allocate(NUMBER, 0, -1, 1),
    protocol.Allocate(NUMBER, 5, 9_000, 1),
    protocol.Allocate(NUMBER, -1, 9_000, 1),
    protocol.Allocate(NUMBER, N, 9_000, 1),
    protocol.Allocate(2, 0, 9_000, 1),
    protocol.AllocateSlab(-1),
    protocol.Released([1], []),
    protocol.Released([1], [0]),
    protocol.Released([1], [-1]),
]


@pytest.mark.parametrize("frame", FORBIDDEN, ids=range(len(FORBIDDEN)))
def test_a_runner_that_says_what_it_may_not_is_replaced_and_nothing_of_it_counts(frame):
    """The first half of a bad frame would have counted: segment 1 ended, dataset 0 exists."""
    world = world_of(runners=1)
    second = msgspec.structs.replace(world._assign("h0", [(100, [0])], {0: 0}, {}), job="other")
    world.agents["h0"].assignments.assign(second, world.graph)
    world.pump()
    if isinstance(frame, protocol.Results) and not frame.failed:
        frame = msgspec.structs.replace(frame, segments=[1])
    assert not say(world, 0, frame)
    world.agents["h0"].handle(ev.LogRead([msgspec.structs.replace(_ended(), job="other")]))
    world.run(random.Random(5))
    world.events = [events for events in world.events if events.job == JOB]
    expect_all_done(world)
    expect_readable_facts(world)
    expect_nothing_left(world)


def _ended():
    from headrace_schemas import Ended

    return Ended(at=1, term=1, job=JOB, state="cancelled")


def test_what_another_runner_has_cannot_be_ended_failed_or_written():
    world = world_of()
    world.pump()
    agent = world.agents["h0"]
    owner = next(runner.slot for runner in agent.runners.slots if 1 in runner.outstanding)
    other = 1 - owner
    assert say(world, other, R(NUMBER, segments=[1], failed=[failure()], failed_segments=[1]))
    assert say(world, other, protocol.Allocate(NUMBER, 0, 9_000, 1))
    assert say(world, other, R(NUMBER, datasets=[1], values=[1]))
    assert 1 in agent.runners.slots[owner].outstanding
    assert agent.memory.store.used == 0
    world.pump()
    assert world.produced() == set()
    world.run(random.Random(3))
    expect_all_done(world)


def test_a_segment_of_another_job_cannot_be_ended_in_the_name_of_this_one():
    world = world_of(runners=1)
    agent = world.agents["h0"]
    agent.assignments.assign(msgspec.structs.replace(world._assign("h0", [(0, [0])], {0: 0}, {}), job="other"), world.graph)
    agent.take()
    other = agent.jobs["other"]
    mine = next(id for id, segment in agent.runners.slots[0].outstanding.items() if segment.chain.job is other)
    assert say(world, 0, R(NUMBER, segments=[mine]))
    assert [chain.id for chain in other.live_chains()] == [0]
    assert mine in agent.runners.slots[0].outstanding


# --- what hosts and clients say ---------------------------------------------------------------------------------------

counts = st.one_of(st.integers(0, N), st.sampled_from([2**31, 2**63 - 1, 2**64 - 1]))
jobs = st.sampled_from([JOB, JOB, JOB, "", "unknown"])


def rows(*of: st.SearchStrategy[int]) -> st.SearchStrategy[list[tuple[int, ...]]]:
    return st.lists(st.tuples(*of), max_size=5)


def column(table: list[tuple[int, ...]], place: int) -> list[int]:
    return [row[place] for row in table]


from_host = st.one_of(
    st.builds(lambda j, t: frames.Values(j, column(t, 0), column(t, 1), column(t, 2)), jobs, rows(counts, counts, st.integers(0, 9))),
    st.builds(lambda j, t: frames.Offer(j, column(t, 0), column(t, 1), column(t, 2)), jobs, rows(counts, counts, counts)),
    st.builds(frames.Data, jobs, counts, counts, counts, counts),
    st.builds(frames.Relay, jobs, counts, st.sampled_from(["h0", "h1", "evil"]), st.text(max_size=9), counts, st.integers(1, 9)),
    st.builds(frames.Gone, jobs, st.lists(counts, max_size=5)),
)
from_peer = st.one_of(
    st.builds(lambda j, t: frames.Want(j, column(t, 0), column(t, 1)), jobs, rows(counts, counts)),
    st.builds(lambda j, t, a: frames.Want(j, column(t, 0), column(t, 1), a), jobs, rows(counts, counts), st.text(max_size=9)),
    st.builds(frames.Unwant, jobs, st.lists(counts, max_size=5)),
    st.builds(frames.Grant, jobs, st.lists(counts, max_size=5)),
    st.builds(lambda j, t: frames.Grant(j, column(t, 0), column(t, 1)), jobs, rows(counts, counts)),
)


class Crowd(World):
    """A world with a peer and a host that belong to nobody, whose links lead nowhere."""

    def _act(self, name: str, action: actions.Action) -> None:
        if isinstance(action, actions.SendBlock) and action.peer == STRANGER:
            self.unsent.append((name, action))
        elif not (isinstance(action, actions.ToPeer) and action.peer == STRANGER):
            super()._act(name, action)

    def _deliver(self, key: tuple[str, str, str]) -> None:
        agent, (frame, payload) = self.agents[key[1]], self.wires[key][0]
        if isinstance(frame, frames.Data):
            agent.handle(ev.DataArriving(key[0], frame, len(payload)))
            if agent.fetching.place is None:
                self.wires[key].popleft()  # its room was taken back, or filled already
                agent.handle(ev.DataArrived(key[0], frame, len(payload)))
                return
        super()._deliver(key)

    @property
    def unsent(self) -> list[tuple[str, actions.SendBlock]]:
        return self.__dict__.setdefault("_unsent", [])

    def send_what_is_owed(self) -> None:
        for name, action in self.unsent:
            self.agents[name].handle(ev.BytesSent(action.peer, action.frame, action.nbytes, action.block))
        self.unsent.clear()

    def hear(self, name: str, host: str, frame: frames.Frame) -> None:
        agent = self.agents[name]
        if isinstance(frame, frames.Want):
            agent.handle(ev.Wanted(STRANGER, frame))
        elif isinstance(frame, frames.Grant):
            agent.handle(ev.Granted(STRANGER, frame))
        elif isinstance(frame, frames.Unwant):
            agent.handle(ev.Unwanted(STRANGER, frame))
        elif isinstance(frame, frames.Values):
            agent.handle(ev.ValuesReceived(host, frame, memoryview(bytes(sum(frame.lengths)))))
        elif isinstance(frame, frames.Offer):
            agent.handle(ev.Offered(host, frame))
        elif isinstance(frame, frames.Gone):
            agent.handle(ev.DatasetsGone(host, frame))
        elif isinstance(frame, frames.Data):
            agent.handle(ev.DataArriving(host, frame, 9_000))
            assert agent.fetching.place is None, "nothing was granted to it"
            agent.handle(ev.DataArrived(host, frame, 9_000))
        elif isinstance(frame, frames.Relay):
            agent.handle(ev.Relayed(host, frame))


@settings(FUZZ, max_examples=300)
@given(st.lists(st.one_of(from_host, from_peer), max_size=20), st.randoms(use_true_random=False))
def test_strangers_change_nothing(said, rng):
    world = world_of(hosts=2, runners=1, world=Crowd)
    for frame in said:
        for _ in range(rng.randrange(4)):
            world.step(rng)
        for _ in range(rng.choice([1, 1, 2])):
            world.hear(rng.choice(world.names), "evil", frame)
        world.pump()
        if rng.random() < 0.3:
            world.send_what_is_owed()
    world.run(rng)
    expect_all_done(world)
    expect_readable_facts(world)
    world.send_what_is_owed()
    expect_nothing_left(world)


@settings(FUZZ, max_examples=200)
@given(st.lists(from_host, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_the_host_that_was_asked_may_say_anything(said, rng):
    """It may spoil the job, not the agent."""
    world = world_of(hosts=2, runners=1, world=Crowd)
    for frame in said:
        for _ in range(rng.randrange(4)):
            world.step(rng)
        try:
            world.hear("h0", "h1", frame)
        except (ValueError, AssertionError):
            break
    world.pump()
    world.agents["h0"].handle(ev.HostUnreachable("h1"))
    world.tick(5.0)
    world.pump()
    expect_readable_facts(world)
    world.wires.clear()
    expect_nothing_left(world)


class Echoing(Crowd):
    """A world in which frames come late, twice and in any order."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.rng = random.Random(0)

    def _deliver(self, key: tuple[str, str, str]) -> None:
        wire = self.wires[key]
        frame, payload = wire[0]
        small = not isinstance(frame, frames.Data)
        if small and self.rng.random() < 0.3:
            wire.append((frame, payload))
        if small and self.rng.random() < 0.3 and not any(isinstance(other, frames.Data) for other, _ in wire):
            shuffled = list(wire)
            self.rng.shuffle(shuffled)
            self.wires[key] = deque(shuffled)
        super()._deliver(key)


@settings(FUZZ, max_examples=200)
@given(st.integers(0, 1 << 30), st.integers(2, 3))
def test_frames_that_come_twice_and_in_any_order_change_nothing(seed, hosts):
    world = world_of(hosts=hosts, runners=1, world=Echoing)
    world.rng.seed(seed)
    world.run(random.Random(seed))
    expect_all_done(world)
    expect_nothing_left(world)


def test_what_is_wanted_twice_is_sent_once_and_what_is_granted_twice_goes_out_once():
    world = world_of(world=Crowd)
    world.run(random.Random(1))
    agent = world.agents["h0"]
    agent.handle(ev.Wanted(STRANGER, frames.Want(JOB, [3, 3, 3, 5, 5], [0] * 5)))
    assert [action.frame.datasets for action in agent.take()] == [[3, 5]]
    agent.handle(ev.Granted(STRANGER, frames.Grant(JOB, [5, 5, 5])))
    agent.handle(ev.Granted(STRANGER, frames.Grant(JOB, [5])))
    sends = [action for action in agent.take() if isinstance(action, actions.SendBlock)]
    assert len(sends) == 1
    agent.handle(ev.BytesSent(STRANGER, sends[0].frame, sends[0].nbytes, sends[0].block))
    agent.handle(ev.Granted(STRANGER, frames.Grant(JOB, [5])))
    assert len(agent.take()) == 1, "and again, once it is out"


def test_answers_fit_into_frames_however_much_is_asked():
    world = world_of()
    agent = world.agents["h0"]
    agent.handle(ev.Wanted(STRANGER, frames.Want(JOB, list(range(N, 3 * MOST_IDS)), [0] * (3 * MOST_IDS - N))))
    gone = [action.frame.datasets for action in agent.take() if isinstance(action, actions.ToPeer)]
    assert max(map(len, gone)) <= MOST_IDS
    assert sum(map(len, gone)) == 3 * MOST_IDS - N


def test_an_offer_that_waits_for_memory_waits_once():
    world = World([[], [0]], [1], {0: 10_000}, 2, 1, 1 << 14)
    world.assign([[0], [1]], [0, 1], [0, 1])
    agent = world.agents["h1"]
    taken = agent.memory.store.allocate(-1, 1 << 14, "someone")
    for _ in range(100):
        agent.handle(ev.Offered("h0", frames.Offer(JOB, [0, 0], [0, 0], [10_000, 10_000])))
        agent.handle(ev.Offered("evil", frames.Offer(JOB, [0], [0], [10_000])))
    assert [claim.who.host for claim in agent.memory._claims] == ["h0"]
    agent.memory.store.abort(taken.id)
    grants = [action for action in agent.take() if isinstance(action, actions.ToHost) and isinstance(action.frame, frames.Grant)]
    assert [grant.frame.datasets for grant in grants] == [[0]]


def test_early_wants_are_kept_once_and_bounded():
    early = EarlyWants()
    for _ in range(1000):
        early.add(1, "a", [1, 2, 3])
    early.add(2, "a", [3])
    assert len(early) == 4
    with pytest.raises(ValueError, match="does not know"):
        early.add(1, "b", range(MOST_EARLY))
    early.add(3, "c", range(MOST_EARLY - 2))
    early.add(3, "c", range(MOST_EARLY - 2))
    with pytest.raises(ValueError, match="does not know"):
        early.add(3, "a job without datasets takes memory too", [])
    early.drop(1)
    early.drop(3)
    assert early.take("a") == [(2, [3])]
    assert not early


# --- nothing of it is unpickled ---------------------------------------------------------------------------------------

ROOT = Path(headrace.__file__).parent
SINKS = ("checks", "encodings", "reading", "sink", "writing")
UNPICKLING = {"pickle", "cloudpickle", "marshal", "shelve", "dill"}
MAY_UNPICKLE = ("runner/", "client/", "values/", "pickling/", "graph/", "cli/", *(f"sinks/{name}.py" for name in SINKS))
"""Runners and the user's side, and what only they call: `values.decode`, `load_function`, `load_block`, and all of `sinks` but `files`."""
LOADERS = {"decode": "headrace.values", "load_function": "headrace.graph.functions", "load_block": "headrace.graph.templates"}


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of every import in a file, at whatever depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def service_files() -> list[Path]:
    files = [path for path in ROOT.rglob("*.py") if not path.relative_to(ROOT).as_posix().startswith(MAY_UNPICKLE)]
    return [*files, *Path(headrace.__file__).parents[2].joinpath("schemas").rglob("*.py")]


def test_no_service_can_unpickle():
    files = service_files()
    assert {"worker/agent/state.py", "worker/links.py", "worker/runners.py", "link/link.py"} <= {
        path.relative_to(ROOT).as_posix() for path in files if path.is_relative_to(ROOT)
    }
    for path in files:
        for module, name in imports(path):
            assert module.split(".")[0] not in UNPICKLING, f"{path} imports {module}"
            assert not (name in LOADERS and module.startswith(LOADERS[name])), f"{path} imports {name} of {module}"
            if path != ROOT / "__init__.py":  # which imports what a user asks for
                assert f"{module}.{name}".removeprefix("headrace.sinks.").split(".")[0] not in SINKS, f"{path} imports {module}.{name}"
            assert (module, name) != ("headrace", "values"), f"{path} imports headrace.values"
