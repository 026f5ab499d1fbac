"""When devices are asked: the grid, second attempts, slots that pass."""

from __future__ import annotations

import numpy as np

from gateway.readings import Quality
from tests.fakes.virtual_time import EPOCH_NS, later, run
from tests.unit.field.bus.scene import Line, fleet, scene


def test_polls_sit_on_a_grid_that_does_not_drift() -> None:
    async def main() -> None:
        line = Line()
        async with scene(fleet(line, 3, cost_s=0.02), line) as s:
            await later(1000.5)
            for station in s.stations:
                times = np.array(s.asked(station.device))
                assert len(times) in {1000, 1001}
                assert np.abs(np.diff(times) - 1.0).max() < 0.07  # others may be in the way, the grid stays
                assert abs((times[-1] - times[0]) - (len(times) - 1)) < 0.07
                assert s.counters.device(station.device).missed == 0

    run(main())


def test_a_step_of_the_wall_clock_moves_no_poll() -> None:
    async def main() -> None:
        line = Line()
        async with scene(fleet(line, 1), line) as s:
            await later(10)
            for jump in (3600.0, -3600.0):
                s.clock.jump_s = jump
                s.clock.check()
                await later(10)
            times = np.array(s.asked("d0"))
            assert np.allclose(np.diff(times), 1.0, atol=1e-3)

    run(main())


def test_a_slow_device_is_asked_at_the_start_already() -> None:
    async def main() -> None:
        line = Line()
        async with scene(fleet(line, 1, period_s=3600.0), line) as s:
            await later(2)
            assert s.good("d0") == 1
            assert s.counters.device("d0").missed == 0

    run(main())


def test_a_failure_is_tried_again_once_before_it_is_told() -> None:
    async def main() -> None:
        line = Line(timeout_s=0.1)
        stations = fleet(line, 1, period_s=5.0)
        stations[0].alive = False
        async with scene(stations, line) as s:
            await later(0.05)
            assert len(s.asked("d0")) == 1
            stations[0].alive = True
            await later(1)
            assert len(s.asked("d0")) == 2
            assert s.port.qualities("d0.v") == {Quality.GOOD}
            assert len(s.port.rows) == 1

    run(main())


def test_a_busy_device_is_asked_again_then_told() -> None:
    async def main() -> None:
        line = Line()
        stations = fleet(line, 1, period_s=5.0)
        stations[0].busy = 3
        async with scene(stations, line) as s:
            await later(14)
            assert [row.quality for row in s.port.rows[:2]] == [Quality.BAD_EXCEPTION, Quality.GOOD]

    run(main())


def test_slots_that_pass_are_counted_and_reported_not_bunched() -> None:
    async def main() -> None:
        line = Line()
        async with scene(fleet(line, 1, cost_s=2.5), line) as s:
            await later(100)
            missed = s.counters.device("d0").missed
            polls = s.good("d0")
            assert 97 <= missed + polls <= 101
            assert min(np.diff(s.asked("d0"))) >= 2.5
        # The end tells what was not yet told.
        assert sum(loss.count for loss in s.port.losses) == missed
        assert s.port.losses[0].from_ns >= EPOCH_NS
        assert len(s.port.losses) <= 13

    run(main())
