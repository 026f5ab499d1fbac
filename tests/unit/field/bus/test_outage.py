"""What is said while the link is down."""

from __future__ import annotations

from gateway.readings import Quality
from tests.fakes.virtual_time import later, run
from tests.unit.field.bus.scene import FakeStation, Line, fleet, scene


def test_a_lost_link_is_told_at_once_and_at_each_tick() -> None:
    async def main() -> None:
        line = Line()
        async with scene(fleet(line, 2), line) as s:
            await later(5)
            line.up = False
            before = len(s.port.rows)
            await later(1.1)
            assert {row.quality for row in s.port.rows[before + 2 :]} <= {Quality.BAD_LINK}
            await later(10)
            for name in ("d0", "d1"):
                bad = [row for row in s.port.of(f"{name}.v") if row.quality == Quality.BAD_LINK]
                assert 10 <= len(bad) <= 13
                assert s.counters.device(name).missed == 0
            line.up = True
            await later(40)
            assert set(s.port.links[-2:]) == {("d0", True, ""), ("d1", True, "")}
            assert s.port.rows[-1].quality == Quality.GOOD

    run(main())


def test_a_link_that_never_came_is_told_on_the_grid() -> None:
    async def main() -> None:
        line = Line(up=False)
        async with scene(fleet(line, 1), line) as s:
            await later(10.5)
            assert len(s.port.rows) in {11, 12}
            assert s.port.links == [("d0", False, "link")]

    run(main())


def test_after_an_outage_a_slow_device_is_up_with_the_first_answer_of_its_unit() -> None:
    async def main() -> None:
        line = Line(up=False)
        stations = [FakeStation("fast", line, 0, unit=7), FakeStation("slow", line, 1, unit=7, period_s=3600.0)]
        async with scene(stations, line) as s:
            await later(10)
            line.up = True
            await later(60)
            assert [link for link in s.port.links if link[0] == "slow"] == [("slow", False, "link"), ("slow", True, "")]

    run(main())
