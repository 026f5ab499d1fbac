from __future__ import annotations

import math
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.field.modbus.learn import Learned
from gateway.field.modbus.plan import Block, Limits, Span, plan


def poll(spans: list[Span], limits: Limits, learned: Learned, holes: set[int], longest: int) -> tuple[set[Span], int]:
    """One poll of a device with holes that takes requests up to a length: what was read, and the requests."""
    open_ = deque(plan(3, spans, limits, learned.refused.get(3, ()), learned.walls(3)))
    good: set[Span] = set()
    requests = 0
    while open_:
        block = open_.popleft()
        requests += 1
        if holes.isdisjoint(range(block.start, block.stop)) and block.count <= longest:
            good.update(block.spans)
        elif (halves := learned.split(block)) is not None:
            open_.extendleft(reversed(halves))
    return good, requests


DEVICE = st.tuples(
    st.lists(
        st.builds(lambda start, width: Span(start, start + width), st.integers(0, 300), st.sampled_from([1, 2, 4])),
        min_size=1,
        max_size=80,
    ),
    st.sets(st.integers(0, 310), max_size=8),
    st.integers(0, 30),
    st.sampled_from([4, 20, 125]),
)


@settings(max_examples=200, deadline=None)
@given(DEVICE)
def test_every_good_value_ends_up_read_and_no_other_is_asked_for(
    device: tuple[list[Span], set[int], int, int],
) -> None:
    spans, holes, gap, longest = device
    learned, limits = Learned(), Limits(125, gap)
    wanted = {span for span in spans if holes.isdisjoint(range(*span))}
    for _ in range(20):
        version = learned.version
        good, _ = poll(spans, limits, learned, holes, longest)
        assert good == wanted  # at full rate from the first poll on
        if learned.version == version:
            break
    else:
        pytest.fail("never settles")
    assert learned.refused.get(3, set()) == set(spans) - wanted
    _, requests = poll(spans, limits, learned, holes, longest)
    assert requests == len(plan(3, spans, limits, learned.refused.get(3, ()), learned.walls(3)))


@given(st.integers(1, 124), st.integers(2, 125))
def test_one_hole_costs_logarithmically_many_requests(hole: int, size: int) -> None:
    spans = [Span(place, place + 1) for place in range(size)]
    learned = Learned()
    good, requests = poll(spans, Limits(125), learned, {hole}, 125)
    assert len(good) == size - (hole < size)
    assert requests <= 1 + 2 * math.ceil(math.log2(size))


def test_a_refused_value_leaves_no_cuts_around_it() -> None:
    spans = [Span(place, place + 1) for place in range(64)]
    learned = Learned()
    poll(spans, Limits(125), learned, {20}, 125)
    assert learned.walls(3) == set()
    blocks = plan(3, spans, Limits(125), learned.refused[3], learned.walls(3))
    assert [(block.start, block.stop) for block in blocks] == [(0, 20), (21, 64)]


def test_a_value_that_answers_again_joins_its_neighbours() -> None:
    learned = Learned()
    assert learned.split(Block.of(3, [Span(5, 6)])) is None
    assert learned.singles() == [Block.of(3, [Span(5, 6)])]
    learned.accepted(3, Span(5, 6))
    assert learned.singles() == []
    assert learned.version == 2


def test_asking_a_refused_value_again_changes_nothing() -> None:
    learned = Learned()
    learned.split(Block.of(3, [Span(5, 6)]))
    before = learned.version
    learned.split(Block.of(3, [Span(5, 6)]))
    assert learned.version == before


def test_cuts_are_forgotten_at_a_reload_refusals_are_not() -> None:
    learned = Learned()
    learned.split(Block.of(3, [Span(0, 1), Span(1, 2)]))
    learned.split(Block.of(4, [Span(9, 10)]))
    learned.forget_cuts()
    assert learned.walls(3) == set()
    assert learned.refused[4] == {Span(9, 10)}


@given(
    st.dictionaries(st.integers(1, 4), st.sets(st.builds(Span, st.integers(0, 99), st.integers(0, 99)), min_size=1)),
)
def test_what_is_learned_survives_json(refused: dict[int, set[Span]]) -> None:
    learned = Learned(refused)
    learned.split(Block.of(3, [Span(200, 201), Span(201, 202)]))
    document = learned.to_json()
    again = Learned.from_json(document)  # type: ignore[arg-type]  # typed as JSON comes
    assert again.refused == refused
    assert again.cuts == learned.cuts
