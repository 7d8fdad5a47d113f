"""What a runner executes and sends, frame by frame, without sockets and without tasks."""

from __future__ import annotations

from headrace.runner.protocol import NEVER, NO_ROOM_YET, Closed, CloseJob, GrantSlab, Recall, Released, ToRunner
from headrace.runner.segments import Segment
from headrace.runner.state import Granted, RunnerState
from tests.unit.runner_frames import grant, open_job, run, waiting_result


def fed(*frames: ToRunner) -> RunnerState:
    state = RunnerState()
    state.feed(frames)
    return state


def steps(state: RunnerState) -> list[int | Granted]:
    """Everything that is to be done, with segments by id."""
    found: list[int | Granted] = []
    while (step := state.next()) is not None:
        found.append(step.id if isinstance(step, Segment) else step)
    return found


def test_segments_are_executed_in_the_order_in_which_they_arrive() -> None:
    state = fed(open_job(1), open_job(2), run(1, 2, job=1), run(3, job=2), run(4, job=1))
    assert steps(state) == [1, 2, 3, 4]
    assert state.outbox.take() == []


def test_a_run_is_cut_into_segments() -> None:
    frame = run(5, 6, first=11, blocks={6: [70, 71]})
    frame.lengths, frame.tasks, frame.leaves, frame.attempts = [2, 1], [0, 1, 2], [0, 1, 1], [0, 3, 0]
    cut = [
        (each.id, each.number, each.tasks, each.leaves, each.attempts, each.inputs, each.locations) for each in fed(open_job(), frame).queue
    ]
    assert cut == [
        (5, 11, [0, 1], [0, 1], [0, 3], (), ()),
        (6, 12, [2], [1], [0], [0, 1], [(70, 0, 8), (71, 0, 8)]),
    ]


def test_recalled_segments_are_dropped_with_their_inputs() -> None:
    state = fed(open_job(), run(1, 2, 3, blocks={2: [20, 21], 3: [30]}), Recall(1, [2]))
    assert (steps(state), state.recalled) == ([1, 3], 1)
    assert state.outbox.take() == [Released([20, 21], [1, 1])]


def test_a_segment_that_was_not_begun_can_be_recalled() -> None:
    state = fed(open_job(), run(1, 2))
    segment = state.next()
    assert isinstance(segment, Segment)
    state.put_back(segment)
    state.feed([Recall(1, [1])])
    assert steps(state) == [2]


def test_the_rest_of_a_failed_chain_is_dropped_also_if_it_arrives_later() -> None:
    state = fed(open_job(), run(1, 2, chain=9, blocks={2: [20]}), run(3))
    segment = state.next()
    assert isinstance(segment, Segment)
    segment.job.dead_chains.add(segment.chain)
    state.feed([run(4, chain=9, blocks={4: [20, 40]})])
    assert steps(state) == [3]
    assert state.outbox.take() == [Released([20, 40], [2, 1])]


def test_segments_of_a_job_that_is_not_open_are_dropped_with_their_inputs() -> None:
    state = fed(run(1, blocks={1: [10]}))
    assert steps(state) == []
    assert state.outbox.take() == [Released([10], [1])]


def test_a_closed_job_is_answered_between_two_segments_and_nothing_of_it_is_executed() -> None:
    state = fed(open_job(1), open_job(2), run(1, 2, job=1, blocks={2: [20]}), run(3, job=2))
    running = state.next()
    assert isinstance(running, Segment)
    state.feed([CloseJob(1)])
    assert (running.job.closed, list(state.jobs)) == (True, [2])
    assert state.end_closed() == [Closed(1)]
    assert steps(state) == [3]
    assert state.outbox.take() == [Released([20], [1])]
    assert (state.closing, state.end_closed()) == ([], [])


def test_a_job_that_is_closed_quietly_or_not_known_is_dropped_alike() -> None:
    state = fed(open_job(1), CloseJob(1, quietly=True), CloseJob(5))
    assert state.end_closed() == [Closed(5)]


def test_values_of_a_closed_job_are_kept_until_its_segment_has_ended() -> None:
    """A task that waits for a slab goes on after its job was closed, and so do the tasks behind it in its segment."""
    state = fed(open_job())
    job = state.jobs[1]
    job.keep(0, 5)
    state.feed([CloseJob(1)])
    assert job.chain_values == {0: 5}
    state.end_closed()
    assert job.chain_values == {}


def test_a_result_that_waited_goes_before_all_segments() -> None:
    state = fed(open_job(), run(1))
    result = waiting_result(state.jobs[1], 50)
    state.keep_waiting(result)
    answer = grant(50)
    state.feed([run(2), answer])
    assert result.segment.puts == 1
    assert steps(state) == [Granted(result, answer), 1, 2]


def test_a_result_waits_until_there_is_room_or_never_will_be() -> None:
    state = fed(open_job())
    results = [waiting_result(state.jobs[1], dataset) for dataset in (1, 2)]
    for result in results:
        state.keep_waiting(result)
    state.feed([grant(1, NO_ROOM_YET), grant(3)])
    assert steps(state) == []
    state.feed([grant(2, NEVER), grant(1), grant(1)])
    assert steps(state) == [Granted(results[1], grant(2, NEVER)), Granted(results[0], grant(1))]


def test_a_result_whose_task_failed_is_not_stored() -> None:
    state = fed(open_job())
    granted, other = waiting_result(state.jobs[1], 1), waiting_result(state.jobs[1], 2)
    for result in (granted, other):
        state.keep_waiting(result)
    state.feed([grant(1)])
    state.forget(granted)
    state.forget(other)
    state.feed([grant(2)])
    assert steps(state) == []


def test_results_of_a_closed_job_are_not_stored_and_end_between_two_segments() -> None:
    state = fed(open_job(1), open_job(2))
    results = [waiting_result(state.jobs[job], dataset) for job, dataset in ((1, 5), (1, 6), (2, 5))]
    for result in results:
        state.keep_waiting(result)
    state.feed([grant(5), CloseJob(1), grant(6), grant(5, job=2)])
    assert steps(state) == [Granted(results[2], grant(5, job=2))]
    assert state._dropped == [results[1], results[0]]
    state.end_closed()
    assert state._dropped == []


def test_the_latest_answer_counts() -> None:
    state = fed(open_job())
    state.ask_room(1, 5)
    assert state.take_answer() is None
    state.feed([grant(6), grant(5, NO_ROOM_YET), grant(5)])
    assert state.take_answer() == grant(5)
    assert (state.take_answer(), steps(state)) == (None, [])


def test_the_answer_for_a_job_that_was_closed_meanwhile_is_not_taken() -> None:
    state = fed(open_job())
    state.ask_room(1, 5)
    state.feed([grant(5), CloseJob(1)])
    assert state.take_answer() is None


def test_a_slab_is_given_to_who_asked_for_it() -> None:
    state = fed(open_job())
    state.ask_slab()
    assert state.take_slab() is None
    state.feed([run(1), GrantSlab(3, 0, 64)])
    assert (state.take_slab(), state.take_slab()) == (GrantSlab(3, 0, 64), None)
    assert state.outbox.take() == []


def test_a_slab_that_a_task_did_not_wait_for_is_given_back() -> None:
    """The exception of a signal ended the wait. The next task may want a slab of another size."""
    state = fed(open_job())
    state.ask_slab()
    state.ask_slab()
    state.feed([GrantSlab(3, 0, 64), GrantSlab(4, 64, 128)])
    assert state.take_slab() == GrantSlab(4, 64, 128)
    state.ask_slab()
    state.feed([GrantSlab(5, 0, 64)])
    state.ask_slab()
    state.feed([GrantSlab(0, NEVER, 0)])
    assert state.take_slab() == GrantSlab(0, NEVER, 0)
    assert state.outbox.take() == [Released([3, 5], [1, 1])]
