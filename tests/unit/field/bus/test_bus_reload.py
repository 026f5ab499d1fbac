"""What a reload leaves alone, and what ends with it."""

from __future__ import annotations

import numpy as np

from gateway.field.stations import Station
from tests.fakes.virtual_time import later, run
from tests.unit.field.bus.scene import FakeStation, Line, fleet, scene


def test_a_reload_keeps_grid_and_health_of_what_stays() -> None:
    async def main() -> None:
        line = Line()
        stations = fleet(line, 3)
        stations[1].alive = False
        async with scene(stations, line) as s:
            await later(20.5)
            fresh = FakeStation("d2", line, 2, unit=2, period_s=0.5)
            new: list[Station] = [stations[0], stations[1], fresh]
            probes = len(s.asked("d1", "probe"))
            s.bus.replace(new, lambda old, new: old is new)
            await later(20)
            times = np.array(s.asked("d0"))
            assert np.abs(np.diff(times) - 1.0).max() < 1.1  # only the dead unit's probes are in the way
            assert s.counters.device("d0").missed <= 3
            assert len(s.asked("d1", "probe")) - probes <= 4  # still known to be dead
            assert len([at for at in s.asked("d2") if at > 20.5]) >= 35

    run(main())


def test_a_device_taken_away_says_nothing_more() -> None:
    async def main() -> None:
        line = Line()
        stations = fleet(line, 2)
        async with scene(stations, line) as s:
            await later(10)
            s.bus.replace(stations[:1], lambda old, new: old is new)
            before = len(s.port.of("d1.v"))
            await later(10)
            assert len(s.port.of("d1.v")) == before

    run(main())


def test_missed_slots_of_a_device_that_changes_or_leaves_are_told() -> None:
    async def main() -> None:
        line = Line()
        stations = fleet(line, 3, cost_s=1.4)  # far too slow for three
        async with scene(stations, line) as s:
            await later(100)
            changed = FakeStation("d1", line, 1, unit=1)
            s.bus.replace([stations[0], changed], lambda old, new: old is new)
            for number in (1, 2):
                told = sum(loss.count for loss in s.port.losses if loss.tags.tolist() == [number])
                assert told == s.counters.device(f"d{number}").missed > 0

    run(main())


def test_a_device_added_to_a_dead_link_or_a_dead_unit_is_down_at_once() -> None:
    async def main() -> None:
        line = Line()
        stations = fleet(line, 3)
        stations[0].alive = False
        keep: list[Station] = [*stations[:2]]
        async with scene(stations, line) as s:
            s.bus.replace(keep, lambda old, new: old is new)
            await later(30)
            s.port.links.clear()
            s.bus.replace([*keep, FakeStation("d2", line, 2, unit=0)], lambda old, new: old is new)
            assert s.port.links == [("d2", False, "timeout")]
            line.up = False
            await later(30)
            s.port.links.clear()
            s.bus.replace([*keep, FakeStation("d2", line, 2, unit=5)], lambda old, new: old is new)
            s.bus.replace(keep, lambda old, new: old is new)
            s.bus.replace([*keep, FakeStation("d2", line, 2, unit=5)], lambda old, new: old is new)
            assert s.port.links == [("d2", False, "link")]

    run(main())
