"""The order in which frames go out."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.link.write_queue import WriteQueue


def small(queue, name, sent=None):
    queue.add_small(bytearray(name), (), sent)


def large(queue, name, size, sent=None):
    queue.add_large(bytearray(name), (memoryview(b"." * size),), sent)


def text(batch):
    return b"".join(bytes(buffer) for buffer in batch.buffers)


def test_small_frames_overtake_large_ones_that_have_not_begun():
    queue = WriteQueue()
    large(queue, b"L1", 10)
    large(queue, b"L2", 10)
    small(queue, b"s1")
    small(queue, b"s2")
    assert text(queue.take(5)) == b"s1s2L1..."
    small(queue, b"s3")
    assert text(queue.take(5)) == b"....."  # L1 is not cut in two
    assert text(queue.take(5)) == b".."
    assert text(queue.take(5)) == b"s3L2..."
    assert text(queue.take(99)) == b"......."
    assert not queue


def test_several_large_ones_in_one_batch():
    queue = WriteQueue()
    large(queue, b"L1", 3)
    large(queue, b"L2", 3)
    assert text(queue.take(100)) == b"L1...L2..."


def test_slices_are_views_not_copies():
    queue, memory = WriteQueue(), bytearray(100)
    queue.add_large(bytearray(b"L"), (memoryview(memory)[:50], memoryview(memory)[50:]), None)
    views = [buffer for _ in range(8) for buffer in queue.take(15).buffers][1:]
    assert {view.obj is memory for view in views} == {True}
    assert sum(map(len, views)) == 100


def test_who_is_told_comes_with_the_last_slice():
    queue, calls = WriteQueue(), [object(), object()]
    large(queue, b"L1", 4, calls[0])
    small(queue, b"s", calls[1])
    assert queue.take(3).sent == [calls[1]]
    assert queue.take(3).sent == [calls[0]]


def test_an_empty_payload_is_sent_with_its_header():
    queue, call = WriteQueue(), object()
    large(queue, b"L", 0, call)
    batch = queue.take(1)
    assert (text(batch), batch.sent) == (b"L", [call])
    assert not queue


def test_drop_names_everybody_who_was_not_told():
    queue, calls = WriteQueue(), [object(), object(), object()]
    large(queue, b"L1", 10, calls[0])
    queue.take(3)
    large(queue, b"L2", 10, calls[1])
    small(queue, b"s", calls[2])
    assert set(queue.drop()) == set(calls)
    assert queue.nbytes == 0
    assert text(queue.take(99)) == b""
    small(queue, b"again")
    assert text(queue.take(99)) == b"again"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.integers(0, 12)), max_size=20), st.integers(1, 50))
def test_every_frame_goes_out_whole_once_and_in_the_order_of_its_kind(steps, limit):
    """Frames are `<kind number:payload>`; between additions some bytes are taken."""
    queue, written, told, added = WriteQueue(), b"", [], []
    for number, (is_large, size, take) in enumerate(steps):
        body = b"<%d:" % number + b"." * size + b">"
        added.append((is_large, body))
        if is_large:
            queue.add_large(bytearray(body[:1]), (memoryview(body)[1:],), number)
        else:
            queue.add_small(bytearray(body), (), number)
        if take:
            batch = queue.take(take)
            written += text(batch)
            told += batch.sent
    while queue:
        batch = queue.take(limit)
        assert batch.buffers
        written += text(batch)
        told += batch.sent
    frames = [piece + b">" for piece in written.split(b">")[:-1]]
    for kind in (True, False):
        bodies = [body for is_large, body in added if is_large is kind]
        assert [frame for frame in frames if frame in bodies] == bodies
    assert sorted(told) == list(range(len(added)))
    assert len(frames) == len(added)
