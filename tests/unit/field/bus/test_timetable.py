from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.field.timetable import Timetable
from gateway.runtime.ticks import Grid


@dataclass(eq=False)
class Member:
    """Served on a grid."""

    grid: Grid


def test_nobody_is_never_due() -> None:
    table: Timetable[Member] = Timetable()
    assert table.next == float("inf")
    assert table.take(1e9) is None


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0.1, 5)), min_size=1, max_size=20),
    st.lists(st.floats(0.01, 7), max_size=50),
)
def test_it_serves_the_most_overdue_as_a_search_through_all_would(
    grids: list[tuple[float, float]], steps: list[float]
) -> None:
    table = Timetable([Member(Grid(start, period)) for start, period in grids])
    model = [Grid(start, period) for start, period in grids]
    now = 0.0
    for step in steps:
        now += step
        while (taken := table.take(now)) is not None:
            member, first, slot, missed = taken
            expected = min(model, key=lambda grid: grid.due)
            assert (expected.start, expected.period_s, expected.due) == (member.grid.start, member.grid.period_s, first)
            assert expected.take(now) == (slot, missed)
        assert table.next == min(grid.due for grid in model) > now
