from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.runtime.clock import STEP_NS, Clock, machine_boot

SECOND = 1_000_000_000
NOON = 1_800_000_000 * SECOND


class World:
    """Three clocks of one machine; only the wall clock can be set."""

    def __init__(self) -> None:
        self.elapsed = 0
        self.wall = NOON
        self.synchronised = True
        self.clock = Clock(
            lambda: self.wall + self.elapsed,
            lambda: 500 * SECOND + self.elapsed,
            lambda: 300 * SECOND + self.elapsed,
            lambda: self.synchronised,
            boot="b",
        )


def test_utc_follows_the_monotonic_clock() -> None:
    world = World()
    world.elapsed = 7 * SECOND
    assert world.clock.now_ns() == NOON + 7 * SECOND
    assert world.clock.utc_of(305.0) == NOON + 5 * SECOND


@given(st.integers(-(10**18), 10**18))
def test_a_step_between_request_and_answer_cannot_bend_a_midpoint(step: int) -> None:
    world = World()
    before = world.clock.now_ns()
    world.wall += step
    world.elapsed = 2 * SECOND
    assert world.clock.now_ns() - before == 2 * SECOND


@given(st.integers(-(10**18), 10**18))
def test_a_step_is_seen_with_its_size(step: int) -> None:
    world = World()
    world.wall += step
    change = world.clock.check()
    if abs(step) < STEP_NS:
        assert change is None
    else:
        assert change is not None
        assert change.step_ns == step
    assert world.clock.now_ns() == (NOON + step) // 1000 * 1000
    assert world.clock.check() is None


def test_synchronisation_is_a_change_without_a_step() -> None:
    world = World()
    world.synchronised = False
    lost = world.clock.check()
    assert lost is not None
    assert (lost.before.synchronised, lost.after.synchronised, lost.step_ns) == (True, False, 0)
    world.synchronised = True
    assert world.clock.check() is not None
    assert world.clock.stamp.synchronised


def test_times_are_whole_microseconds() -> None:
    world = World()
    world.elapsed = 1_234_567
    assert world.clock.now_ns() % 1000 == 0


def test_the_stamp_tells_the_boot_and_the_offset() -> None:
    world = World()
    assert world.clock.stamp.machine_boot == "b"
    assert world.clock.stamp.offset_ns == NOON - 500 * SECOND


def test_the_real_machine() -> None:
    assert machine_boot()
    assert "-" not in machine_boot()
    assert Clock().now_ns() > NOON - 30 * 365 * 86400 * SECOND
