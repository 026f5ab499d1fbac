from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.field.modbus.plan import Block, Limits, Span, plan

WIDTHS = st.sampled_from([1, 1, 1, 2, 4, 8])
SPANS = st.lists(
    st.builds(lambda start, width: Span(start, start + width), st.integers(0, 400), WIDTHS), min_size=1, max_size=60
)


@given(SPANS, st.integers(8, 125), st.integers(0, 20), st.data())
def test_every_span_is_read_once_whole_within_the_limits(
    spans: list[Span], most: int, gap: int, data: st.DataObject
) -> None:
    refused = data.draw(st.sets(st.sampled_from(spans), max_size=3))
    cuts = data.draw(st.sets(st.integers(0, 410), max_size=3))
    blocks = plan(3, spans, Limits(most, gap), refused, cuts)
    served = [span for block in blocks for span in block.spans]
    assert sorted(served) == sorted(set(spans) - refused)
    for block in blocks:
        assert block.count <= most
        assert block.start == block.spans[0].start
        assert all(block.start <= span.start < span.stop <= block.stop for span in block.spans)
        assert not any(block.start < cut <= block.spans[-1].start for cut in cuts)
        reach = block.start
        for span in block.spans:
            assert span.start - reach <= gap
            reach = max(reach, span.stop)
        unwanted = set(range(block.start, block.stop)) - {place for span in block.spans for place in range(*span)}
        assert not unwanted & {place for span in refused for place in range(*span)}


@given(SPANS)
def test_halves_share_the_spans_and_nothing_else(spans: list[Span]) -> None:
    for block in plan(3, spans, Limits(125, 10)):
        halves = block.halves()
        if len(block.spans) == 1:
            assert halves is None
        else:
            assert halves is not None
            left, right = halves
            assert left.spans + right.spans == block.spans
            assert block.start <= left.start < left.stop <= block.stop
            assert right.count <= block.count


def test_contiguous_values_of_any_width_join() -> None:
    assert plan(3, [Span(0, 1), Span(1, 3), Span(3, 7)], Limits(125)) == [
        Block(3, 0, 7, (Span(0, 1), Span(1, 3), Span(3, 7)))
    ]


def test_a_hole_splits_unless_it_may_be_read_over() -> None:
    spans = [Span(0, 1), Span(4, 5)]
    assert len(plan(3, spans, Limits(125, 2))) == 2
    assert len(plan(3, spans, Limits(125, 3))) == 1


def test_the_limit_never_cuts_a_value() -> None:
    blocks = plan(3, [Span(start, start + 2) for start in range(0, 260, 2)], Limits(125))
    assert [block.count for block in blocks] == [124, 124, 12]


def test_a_refused_register_is_not_read_over() -> None:
    spans = [Span(0, 1), Span(1, 2), Span(2, 3)]
    assert [block.start for block in plan(3, spans, Limits(125, 10), refused=[Span(1, 2)])] == [0, 2]


def test_halves_prefer_the_hole_nearest_to_the_middle() -> None:
    block = Block.of(3, [Span(0, 1), Span(1, 2), Span(10, 11), Span(11, 12), Span(30, 31)])
    halves = block.halves()
    assert halves is not None
    assert (halves[0].stop, halves[1].start) == (2, 10)


def test_too_wide_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="wider"):
        plan(3, [Span(0, 10)], Limits(8))


@pytest.mark.parametrize(("function", "count", "size"), [(1, 1, 1), (2, 8, 1), (1, 9, 2), (3, 1, 2), (4, 125, 250)])
def test_payload_sizes(function: int, count: int, size: int) -> None:
    assert Block(function, 0, count, (Span(0, count),)).payload_bytes == size
