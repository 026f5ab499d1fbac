"""Writes between polls: when they go, and what becomes of one that fails."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from gateway.errors import LinkError, WriteError
from gateway.field.stations import UnitError
from gateway.readings import Quality
from tests.fakes.virtual_time import later, run
from tests.unit.field.bus.scene import Line, fleet, scene


def test_writes_go_first_but_at_most_one_in_four() -> None:
    async def main() -> None:
        line = Line()
        stations = fleet(line, 1, cost_s=0.01, period_s=0.05)
        stations[0].requests = 20  # never idle
        async with scene(stations, line) as s:
            await later(1)

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
            await later(5)

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
            await later(5)
            done = []

            async def work() -> None:
                done.append(1)

            with pytest.raises(WriteError, match="nothing was sent") as caught:
                await s.bus.write("d0", work, 3.0)
            assert caught.value.status == "timeout"
            await later(100)
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
            await later(2)
            done = []

            async def work() -> None:
                done.append(1)
                raise error

            with pytest.raises(WriteError) as caught:
                await s.bus.write("d0", work, 3.0)
            assert caught.value.status == status
            await later(10)
            assert done == [1]

    run(main())


def test_a_write_without_link_or_to_a_dead_unit_fails_at_once() -> None:
    async def main() -> None:
        line = Line(up=False)
        stations = fleet(line, 2)
        async with scene(stations, line) as s:
            await later(5)

            async def work() -> None:
                """Never runs."""

            with pytest.raises(WriteError) as caught:
                await s.bus.write("d0", work, 3.0)
            assert caught.value.status == "failed"
            line.up, stations[1].alive = True, False
            await later(60)
            with pytest.raises(WriteError) as caught:
                await s.bus.write("d1", work, 3.0)
            assert caught.value.status == "timeout"

    run(main())
