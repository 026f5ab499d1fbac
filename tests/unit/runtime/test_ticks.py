from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.runtime.ticks import Grid, phase, until

PERIODS = st.sampled_from([0.01, 0.1, 0.25, 1.0, 2.0, 60.0])


@given(
    start=st.floats(0, 1e6),
    period=PERIODS,
    delays=st.lists(st.floats(0, 5).map(lambda late: late if late > 0.5 else 0.0), min_size=1, max_size=60),
)
def test_no_drift_and_every_slot_is_served_or_counted(start: float, period: float, delays: list[float]) -> None:
    """However late each poll is, the slots stay on `start + k * period`, and none is forgotten or served twice."""
    grid = Grid(start, period)
    served = missed = 0
    now = start
    before = -1
    for delay in delays:
        now = max(now, grid.due) + delay * period
        slot, skipped = grid.take(now)
        number = round((slot - start) / period)
        assert slot == start + number * period
        assert number > before
        assert number - before - 1 == skipped
        assert slot <= now
        assert now - slot < period * (1 + 1e-6) + 1e-6
        before = number
        served, missed = served + 1, missed + skipped
    assert served + missed == grid.slot


def test_a_slow_poll_skips_and_never_bunches() -> None:
    grid = Grid(100.0, 1.0)
    assert grid.take(100.0) == (100.0, 0)
    assert grid.take(104.7) == (104.0, 3)
    assert grid.due == 105.0
    assert grid.take(105.0) == (105.0, 0)


@given(st.text(min_size=1, max_size=20), PERIODS)
def test_phases_are_stable_and_within_the_period(name: str, period: float) -> None:
    assert 0 <= phase(name, period) < period
    assert phase(name, period) == phase(name, period)


def test_phases_spread() -> None:
    phases = sorted(phase(f"device-{number}", 1.0) for number in range(200))
    gaps = [after - before for before, after in itertools.pairwise(phases)]
    assert max(gaps) < 0.1


async def test_until_reaches_the_deadline() -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 0.01
    await until(deadline)
    assert loop.time() >= deadline - 1e-3
    await until(loop.time() - 100)


@pytest.mark.parametrize("late", [0.0, 0.999])
def test_within_the_period_nothing_is_missed(late: float) -> None:
    assert Grid(0.0, 1.0).take(late) == (0.0, 0)
