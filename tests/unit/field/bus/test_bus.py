"""The scheduler in virtual time: what is asked when, and what is said about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
import pytest

from gateway.errors import LinkError, WriteError
from gateway.field.bus import Bus
from gateway.field.contract import FieldContext
from gateway.field.stations import GiveWay, Station, UnitError
from gateway.readings import Quality, Readings, Tag, TagColumn, TagTable
from gateway.runtime.counters import Counters
from tests.fakes.port import RecordingPort
from tests.fakes.virtual_time import EPOCH_NS, VirtualClock, run


@dataclass
class Line:
    """What the stations share: whether the link stands, what is asked, how long a dead unit keeps it busy."""

    up: bool = True
    timeout_s: float = 1.0
    opened: int = 0
    asked: list[tuple[str, str, float]] = field(default_factory=list)

    @asynccontextmanager
    async def link(self) -> AsyncIterator[None]:
        if not self.up:
            raise LinkError("unplugged")
        self.opened += 1
        yield


@dataclass
class FakeStation:
    """A device with one tag and some requests per poll."""

    device: str
    line: Line
    index: int
    unit: int = 0
    period_s: float = 1.0
    cost_s: float = 0.01
    requests: int = 1
    alive: bool = True
    busy: int = 0  # polls that must be asked twice

    @property
    def tags(self) -> TagColumn:
        return np.array([self.index], np.uint32)

    async def ask(self, what: str) -> None:
        loop = asyncio.get_running_loop()
        self.line.asked.append((self.device, what, loop.time()))
        alive = self.alive
        await asyncio.sleep(self.cost_s if alive else self.line.timeout_s)
        if not self.line.up:
            raise LinkError("unplugged")
        if not alive:
            raise UnitError(Quality.BAD_TIMEOUT, "no answer")

    def begin(self) -> FakePoll:
        return FakePoll(self)

    async def probe(self) -> None:
        await self.ask("probe")


@dataclass
class FakePoll:
    """A poll of a fake station."""

    station: FakeStation
    answered: bool = False

    async def attempt(self, give_way: GiveWay) -> bool:
        for _ in range(self.station.requests):
            await give_way()
            await self.station.ask("read")
        if self.station.busy > 0:
            self.station.busy -= 1
            return False
        self.answered = True
        return True

    def readings(self, otherwise: Quality, time_ns: int) -> Readings:
        if not self.answered:
            return Readings.failed(self.station.tags, time_ns, otherwise)
        return Readings(self.station.tags, np.array([time_ns]), np.ones(1), np.zeros(1, np.uint8))


@dataclass
class Scene:
    """A bus of fake stations at work."""

    line: Line
    stations: list[FakeStation]
    port: RecordingPort
    counters: Counters
    clock: VirtualClock
    bus: Bus

    def good(self, device: str) -> int:
        return len(self.port.values(f"{device}.v"))

    def asked(self, device: str, what: str = "read") -> list[float]:
        return [at for who, how, at in self.line.asked if (who, how) == (device, what)]


@asynccontextmanager
async def scene(stations: Iterable[FakeStation], line: Line) -> AsyncIterator[Scene]:
    chosen = list(stations)
    clock, counters = VirtualClock(), Counters()
    port = RecordingPort(TagTable(Tag(station.device, "v") for station in chosen))
    bus = Bus("bus", FieldContext(port, clock, counters, None), line.link, chosen)
    task = asyncio.create_task(bus.run())
    try:
        yield Scene(line, chosen, port, counters, clock, bus)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def fleet(line: Line, count: int, **keys: float) -> list[FakeStation]:
    return [FakeStation(f"d{n}", line, n, unit=n, **keys) for n in range(count)]  # type: ignore[arg-type]


def test_polls_sit_on_a_grid_that_does_not_drift() -> None:
    async def main() -> None:
        line = Line()
        async with scene(fleet(line, 3, cost_s=0.02), line) as s:
            await asyncio.sleep(1000.5)
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
            await asyncio.sleep(10)
            for jump in (3600.0, -3600.0):
                s.clock.jump_s = jump
                s.clock.check()
                await asyncio.sleep(10)
            times = np.array(s.asked("d0"))
            assert np.allclose(np.diff(times), 1.0, atol=1e-3)

    run(main())


def test_a_dead_unit_costs_the_others_a_twentieth_at_most() -> None:
    async def main() -> None:
        line = Line(timeout_s=2.0)
        stations = fleet(line, 8, cost_s=0.1)  # 80 % of the bus
        stations[3].alive = False
        async with scene(stations, line) as s:
            await asyncio.sleep(3600)
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
            await asyncio.sleep(600)
            stations[1].alive = True
            probes = len(s.asked("d1", "probe"))
            await asyncio.sleep(62)
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
            await asyncio.sleep(30)
            assert len(s.asked("d0", "probe")) >= 3

    run(main())


def test_a_failure_is_tried_again_once_before_it_is_told() -> None:
    async def main() -> None:
        line = Line(timeout_s=0.1)
        stations = fleet(line, 1, period_s=5.0)
        stations[0].alive = False
        async with scene(stations, line) as s:
            await asyncio.sleep(0.05)
            assert len(s.asked("d0")) == 1
            stations[0].alive = True
            await asyncio.sleep(1)
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
            await asyncio.sleep(14)
            assert [row.quality for row in s.port.rows[:2]] == [Quality.BAD_EXCEPTION, Quality.GOOD]

    run(main())


def test_a_lost_link_is_told_at_once_and_at_each_tick() -> None:
    async def main() -> None:
        line = Line()
        async with scene(fleet(line, 2), line) as s:
            await asyncio.sleep(5)
            line.up = False
            before = len(s.port.rows)
            await asyncio.sleep(1.1)
            assert {row.quality for row in s.port.rows[before + 2 :]} <= {Quality.BAD_LINK}
            await asyncio.sleep(10)
            for name in ("d0", "d1"):
                bad = [row for row in s.port.of(f"{name}.v") if row.quality == Quality.BAD_LINK]
                assert 10 <= len(bad) <= 13
                assert s.counters.device(name).missed == 0
            line.up = True
            await asyncio.sleep(40)
            assert set(s.port.links[-2:]) == {("d0", True, ""), ("d1", True, "")}
            assert s.port.rows[-1].quality == Quality.GOOD

    run(main())


def test_a_link_that_never_came_is_told_on_the_grid() -> None:
    async def main() -> None:
        line = Line(up=False)
        async with scene(fleet(line, 1), line) as s:
            await asyncio.sleep(10.5)
            assert len(s.port.rows) in {11, 12}
            assert s.port.links == [("d0", False, "link")]

    run(main())


def test_slots_that_pass_are_counted_and_reported_not_bunched() -> None:
    async def main() -> None:
        line = Line()
        async with scene(fleet(line, 1, cost_s=2.5), line) as s:
            await asyncio.sleep(100)
            missed = s.counters.device("d0").missed
            polls = s.good("d0")
            assert 97 <= missed + polls <= 101
            assert min(np.diff(s.asked("d0"))) >= 2.5
        # The end tells what was not yet told.
        assert sum(loss.count for loss in s.port.losses) == missed
        assert s.port.losses[0].from_ns >= EPOCH_NS
        assert len(s.port.losses) <= 13

    run(main())


def test_writes_go_first_but_at_most_one_in_four() -> None:
    async def main() -> None:
        line = Line()
        stations = fleet(line, 1, cost_s=0.01, period_s=0.05)
        stations[0].requests = 20  # never idle
        async with scene(stations, line) as s:
            await asyncio.sleep(1)

            async def work() -> float:
                await stations[0].ask("write")
                return 1.0

            line.asked.clear()
            await asyncio.gather(*(s.bus.write("d0", work, 10.0) for _ in range(6)))
            order = [what for _, what, _ in line.asked]
            writes = [place for place, what in enumerate(order) if what == "write"]
            assert writes[0] <= 1
            assert set(np.diff(writes)) == {4}

    run(main())


def test_an_idle_bus_writes_at_once() -> None:
    async def main() -> None:
        line = Line()
        stations = fleet(line, 1, period_s=1000.0)
        async with scene(stations, line) as s:
            await asyncio.sleep(5)

            async def work() -> str:
                return "done"

            before = asyncio.get_running_loop().time()
            assert await s.bus.write("d0", work, 1.0) == "done"
            assert asyncio.get_running_loop().time() == before

    run(main())


def test_a_write_gives_up_when_its_turn_does_not_come() -> None:
    async def main() -> None:
        line = Line()
        stations = fleet(line, 1, cost_s=30.0)
        async with scene(stations, line) as s:
            await asyncio.sleep(5)
            done = []

            async def work() -> None:
                done.append(1)

            with pytest.raises(WriteError, match="nothing was sent") as caught:
                await s.bus.write("d0", work, 3.0)
            assert caught.value.status == "timeout"
            await asyncio.sleep(100)
            assert done == []

    run(main())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnitError(Quality.BAD_TIMEOUT, "no answer"), "timeout"),
        (UnitError(Quality.BAD_DECODE, "garbage"), "failed"),
        (LinkError("gone"), "failed"),
        (WriteError("mismatch"), "mismatch"),
    ],
)
def test_a_write_that_fails_says_how_and_is_not_repeated(error: Exception, status: str) -> None:
    async def main() -> None:
        line = Line()
        async with scene(fleet(line, 1), line) as s:
            await asyncio.sleep(2)
            done = []

            async def work() -> None:
                done.append(1)
                raise error

            with pytest.raises(WriteError) as caught:
                await s.bus.write("d0", work, 3.0)
            assert caught.value.status == status
            await asyncio.sleep(10)
            assert done == [1]

    run(main())


def test_a_write_without_link_or_to_a_dead_unit_fails_at_once() -> None:
    async def main() -> None:
        line = Line(up=False)
        stations = fleet(line, 2)
        async with scene(stations, line) as s:
            await asyncio.sleep(5)

            async def work() -> None:
                """Never runs."""

            with pytest.raises(WriteError) as caught:
                await s.bus.write("d0", work, 3.0)
            assert caught.value.status == "failed"
            line.up, stations[1].alive = True, False
            await asyncio.sleep(60)
            with pytest.raises(WriteError) as caught:
                await s.bus.write("d1", work, 3.0)
            assert caught.value.status == "timeout"

    run(main())


def test_a_reload_keeps_grid_and_health_of_what_stays() -> None:
    async def main() -> None:
        line = Line()
        stations = fleet(line, 3)
        stations[1].alive = False
        async with scene(stations, line) as s:
            await asyncio.sleep(20.5)
            fresh = FakeStation("d2", line, 2, unit=2, period_s=0.5)
            new: list[Station] = [stations[0], stations[1], fresh]
            probes = len(s.asked("d1", "probe"))
            s.bus.replace(new, lambda old, new: old is new)
            await asyncio.sleep(20)
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
            await asyncio.sleep(10)
            s.bus.replace(stations[:1], lambda old, new: old is new)
            before = len(s.port.of("d1.v"))
            await asyncio.sleep(10)
            assert len(s.port.of("d1.v")) == before

    run(main())


def test_devices_of_one_unit_share_its_judgement() -> None:
    async def main() -> None:
        line = Line()
        stations = [FakeStation(f"d{n}", line, n, unit=7, alive=False) for n in range(3)]
        async with scene(stations, line) as s:
            await asyncio.sleep(60)
            asked = [what for _, what, _ in line.asked]
            assert asked.count("read") <= 4
            assert set(s.port.links) == {(f"d{n}", False, "timeout") for n in range(3)}

    run(main())


def test_a_slow_device_is_asked_at_the_start_already() -> None:
    async def main() -> None:
        line = Line()
        async with scene(fleet(line, 1, period_s=3600.0), line) as s:
            await asyncio.sleep(2)
            assert s.good("d0") == 1
            assert s.counters.device("d0").missed == 0

    run(main())
