"""What a dead unit costs the others, and how it comes back."""

from __future__ import annotations

from gateway.readings import Quality
from tests.fakes.virtual_time import later, run
from tests.unit.field.bus.scene import FakeStation, Line, fleet, scene


def test_a_dead_unit_costs_the_others_a_twentieth_at_most() -> None:
    async def main() -> None:
        line = Line(timeout_s=2.0)
        stations = fleet(line, 8, cost_s=0.1)  # 80 % of the bus
        stations[3].alive = False
        async with scene(stations, line) as s:
            await later(3600)
            for number in (0, 1, 2, 4, 5, 6, 7):
                assert s.good(f"d{number}") >= 0.93 * 3600
                assert s.port.qualities(f"d{number}.v") == {Quality.GOOD}
            assert s.port.qualities("d3.v") == {Quality.BAD_TIMEOUT}
            assert len(s.port.of("d3.v")) >= 0.95 * 3600  # said at each tick
            busy = 2.0 * (len(s.asked("d3")) + len(s.asked("d3", "probe")))
            assert busy <= 0.05 * 3600

    run(main())


def test_a_unit_that_returns_is_back_with_one_probe() -> None:
    async def main() -> None:
        line = Line()
        stations = fleet(line, 4)
        stations[1].alive = False
        async with scene(stations, line) as s:
            await later(600)
            stations[1].alive = True
            probes = len(s.asked("d1", "probe"))
            await later(62)
            assert len(s.asked("d1", "probe")) == probes + 1
            assert s.good("d1") >= 1
            assert [link for link in s.port.links if link[0] == "d1"] == [("d1", False, "timeout"), ("d1", True, "")]

    run(main())


def test_all_units_dead_still_are_probed_by_backoff_alone() -> None:
    async def main() -> None:
        line = Line()
        stations = fleet(line, 2)
        for station in stations:
            station.alive = False
        async with scene(stations, line) as s:
            await later(30)
            assert len(s.asked("d0", "probe")) >= 3

    run(main())


def test_devices_of_one_unit_share_its_judgement() -> None:
    async def main() -> None:
        line = Line()
        stations = [FakeStation(f"d{n}", line, n, unit=7, alive=False) for n in range(3)]
        async with scene(stations, line) as s:
            await later(60)
            asked = [what for _, what, _ in line.asked]
            assert asked.count("read") <= 4
            assert set(s.port.links) == {(f"d{n}", False, "timeout") for n in range(3)}

    run(main())


def test_a_unit_found_dead_is_not_asked_again_for_its_other_devices() -> None:
    async def main() -> None:
        line = Line(timeout_s=3.0)
        stations = [FakeStation(f"d{n}", line, n, unit=7, period_s=100.0, alive=False) for n in range(3)]
        async with scene(stations, line) as s:
            await later(8)
            assert [what for _, what, _ in line.asked].count("read") == 2, "the first one waits for its second attempt"
            assert {row.tag for row in s.port.rows} == {"d0.v", "d1.v", "d2.v"}
            assert s.port.qualities("d0.v") | s.port.qualities("d1.v") == {Quality.BAD_TIMEOUT}

    run(main())
