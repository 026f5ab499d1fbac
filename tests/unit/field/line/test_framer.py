from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.field.line.framer import LONGEST, Framer, Line

TERMINATORS = st.sampled_from([b"\r\n", b"\r", b"\n", b"\x03", b"ABA"])


def fed(framer: Framer, stream: bytes, cuts: list[int]) -> list[bytes]:
    """The lines of a stream that arrives in pieces."""
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    pieces = [stream[start:end] for start, end in pairwise(edges)]
    return [line.text for number, piece in enumerate(pieces) for line in framer.feed(piece, float(number))]


@given(TERMINATORS, st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 10_000), max_size=8))
def test_lines_are_the_same_however_the_stream_is_cut(terminator: bytes, texts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(text + terminator for text in texts)
    whole = [text for text in stream.split(terminator)[:-1] if text]
    assert fed(Framer(terminator, synchronised=True), stream, cuts) == whole


@given(TERMINATORS, st.binary(max_size=300), st.lists(st.integers(0, 10_000), max_size=8))
def test_what_stands_before_the_first_terminator_is_dropped(terminator: bytes, stream: bytes, cuts: list[int]) -> None:
    _, found, rest = stream.partition(terminator)
    whole = [text for text in rest.split(terminator)[:-1] if text] if found else []
    assert fed(Framer(terminator), stream, cuts) == whole


@given(TERMINATORS, st.lists(st.binary(max_size=3 * LONGEST), max_size=6))
def test_memory_stays_within_a_line(terminator: bytes, pieces: list[bytes]) -> None:
    framer = Framer(terminator, synchronised=True)
    for piece in pieces:
        assert all(len(line.text) <= LONGEST for line in framer.feed(piece, 0.0))
        assert len(framer._buffer) <= LONGEST


def test_an_overlong_line_is_dropped_whole_and_the_next_one_is_read() -> None:
    framer = Framer(b"\r\n", synchronised=True)
    for _ in range(3):
        assert framer.feed(b"x" * LONGEST, 0.0) == []
    assert framer.overlong == 1
    assert framer.feed(b"tail\r\n", 1.0) == []
    assert framer.feed(b"next\r\n", 2.0) == [Line(b"next", 2.0)]


def test_a_terminator_cut_in_two_ends_an_overlong_line() -> None:
    framer = Framer(b"\r\n", synchronised=True)
    framer.feed(b"x" * (LONGEST + 1) + b"\r", 0.0)
    assert framer.feed(b"\nnext\r\n", 1.0) == [Line(b"next", 1.0)]


def test_the_time_is_that_of_the_first_byte() -> None:
    framer = Framer(b"\n", synchronised=True)
    assert framer.feed(b"a", 1.0) == []
    assert framer.feed(b"b\nc", 2.0) == [Line(b"ab", 1.0)]
    assert framer.feed(b"\nd\n", 3.0) == [Line(b"c", 2.0), Line(b"d", 3.0)]
