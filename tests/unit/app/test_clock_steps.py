"""Steps of the wall clock through clock, flow and spool: nothing lost, nothing reordered, told once.

The clock is moved by hand; its time since boot says what really happened. `Daemon.keep_time` does as `Rig.tick` does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.app.flow import Flow
from gateway.block import Block
from gateway.config import load_text
from gateway.readings import Quality, Readings
from gateway.runtime.counters import Counters
from gateway.runtime.latest import Latest
from gateway.spool import Spool
from tests.fakes.spool import START_NS, HandClock, drain, events_of, make

HOUR_NS = 3600 * 10**9
TEXT = """
gateway: {name: cell}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    devices:
      press:
        unit: 1
        tags:
          raw: {address: holding:0, type: int16}
          line: {address: holding:1, type: int16, steps: [{swinging-door: {deviation: 0.5}}]}
upstreams: {plant: {broker: "mqtt://127.0.0.1"}}
"""


class Rig:
    """One poll a tenth of a second, both tags with the number of the poll."""

    def __init__(self, folder: Path, hand: HandClock, first: int = 0) -> None:
        self.hand = hand
        self.polls = first
        self.configuration = load_text(TEXT, Path("gateway.yaml"))
        table = self.configuration.table
        self.spool: Spool = make(folder / "s.db", ("plant",), hand.clock, table=table)
        self.flow = Flow(self.configuration, self.spool, hand.clock, Counters(), Latest(table), lambda *link: None)

    def poll(self, times: int = 10) -> None:
        table = self.configuration.table
        tags = np.array([table.index("press.raw"), table.index("press.line")], np.uint32)
        for _ in range(times):
            self.hand.pass_time(0.1)
            value = np.full(2, float(self.polls))
            self.flow.readings(Readings(tags, np.full(2, self.hand.clock.now_ns()), value, np.zeros(2, np.uint8)))
            self.polls += 1

    def step(self, by_ns: int = 0, *, synchronised: bool = True) -> None:
        self.hand.wall_ns += by_ns
        self.hand.synchronised = synchronised
        self.tick()

    def tick(self) -> None:
        change = self.hand.clock.check()
        if change is not None:
            self.flow.clock_changed(change)

    async def delivered(self) -> list[Block]:
        self.flow.flush()
        await self.spool.commit()
        return await drain(self.spool.delivery("plant"), self.spool)


def rows(blocks: list[Block], name: str) -> list[tuple[float, int, int]]:
    """Value, time, quality of a tag, in the order of delivery."""
    return [
        (value, time_ns, quality)
        for block in blocks
        for tag, value, time_ns, quality in zip(
            block.readings.tag, block.readings.value.tolist(), block.readings.time_ns.tolist(),
            block.readings.quality.tolist(), strict=True,
        )
        if block.table[int(tag)].full_name == f"press.{name}"
    ]  # fmt: skip


def steps(blocks: list[Block]) -> list[tuple[int, bool]]:
    return [(e["step"], e["synchronised"]) for e in events_of(blocks) if e["event"] == "clock_step"]


@pytest.mark.parametrize("committed", [False, True])
async def test_a_boot_in_1970_is_corrected_once_the_clock_is_right(tmp_path: Path, *, committed: bool) -> None:
    rig = Rig(tmp_path, HandClock(synchronised=False, wall_ns=0))
    async with rig.spool:
        rig.poll(30)
        if committed:
            await rig.spool.commit()
        assert set(rig.flow._latest.quality.tolist()) == {Quality.UNCERTAIN_CLOCK}
        rig.step(START_NS - rig.hand.wall_ns)
        rig.poll(30)
        rig.tick()
        blocks = await rig.delivered()
    found = rows(blocks, "raw")
    started = START_NS - 3 * 10**9  # three seconds before the clock was set
    assert [value for value, _, _ in found] == list(range(60))
    assert [time_ns for _, time_ns, _ in found] == [started + (n + 1) * 10**8 for n in range(60)]
    assert {quality for _, _, quality in found} == {Quality.GOOD}
    times = [time_ns for _, time_ns, _ in rows(blocks, "line")]
    assert times == sorted(times)
    assert steps(blocks) == [(START_NS // 10**6 - 3000, True)]


async def test_what_was_sent_before_the_clock_was_right_carries_the_mark(tmp_path: Path) -> None:
    rig = Rig(tmp_path, HandClock(synchronised=False, wall_ns=0))
    async with rig.spool:
        rig.poll(10)
        before = await rig.delivered()
        rig.step(START_NS - rig.hand.wall_ns)
        rig.poll(10)
        after = await rig.delivered()
    assert {quality for _, _, quality in rows(before, "raw")} == {Quality.UNCERTAIN_CLOCK}
    assert {quality for _, _, quality in rows(after, "raw")} == {Quality.GOOD}
    assert [value for value, _, _ in rows([*before, *after], "raw")] == list(range(20))


@pytest.mark.parametrize("by_ns", [HOUR_NS, -HOUR_NS])
async def test_a_step_in_mid_run_loses_and_reorders_nothing(tmp_path: Path, by_ns: int) -> None:
    """What was taken with a clock that was right stays as it is; a line never joins readings of two clocks."""
    rig = Rig(tmp_path, HandClock())
    async with rig.spool:
        rig.poll(25)
        rig.step(by_ns)
        rig.poll(25)
        rig.tick()
        blocks = await rig.delivered()
    found = rows(blocks, "raw")
    assert [value for value, _, _ in found] == list(range(50))
    expected = [START_NS + (n + 1) * 10**8 + (by_ns if n >= 25 else 0) for n in range(50)]
    assert [time_ns for _, time_ns, _ in found] == expected
    assert {quality for _, _, quality in found} == {Quality.GOOD}
    assert steps(blocks) == [(by_ns // 10**6, True)]
    line = [(value, time_ns) for value, time_ns, _ in rows(blocks, "line")]
    assert {0.0, 24.0, 25.0, 49.0} <= {value for value, _ in line}  # both ends of both lines
    assert all(time_ns == expected[int(value)] for value, time_ns in line)


async def test_another_boot_leaves_its_readings_marked_and_in_order(tmp_path: Path) -> None:
    first = Rig(tmp_path, HandClock(synchronised=False, wall_ns=0, boot="b" * 32))
    async with first.spool:
        first.poll(20)
        first.flow.flush()
    second = Rig(tmp_path, HandClock(synchronised=False, wall_ns=0, boot="c" * 32), first=20)
    async with second.spool:
        second.poll(20)
        second.step(START_NS - second.hand.wall_ns)
        second.poll(20)
        found = rows(await second.delivered(), "raw")
    assert [value for value, _, _ in found] == list(range(60))
    assert [quality for _, _, quality in found] == [Quality.UNCERTAIN_CLOCK] * 20 + [Quality.GOOD] * 40
    assert all(time_ns < START_NS // 2 for _, time_ns, _ in found[:20])
    times = [time_ns for _, time_ns, _ in found[20:]]
    assert times == [START_NS - 2 * 10**9 + (n + 1) * 10**8 for n in range(40)]


async def test_slewing_is_no_step(tmp_path: Path) -> None:
    rig = Rig(tmp_path, HandClock())
    async with rig.spool:
        for _ in range(20):
            rig.poll(1)
            rig.step(10**7)
        blocks = await rig.delivered()
    times = [time_ns for _, time_ns, _ in rows(blocks, "raw")]
    assert times == sorted(times)
    assert len(times) == 20
    assert steps(blocks) == []


async def test_many_steps_lose_nothing(tmp_path: Path) -> None:
    """Seeded: steps of any size, with and without synchronisation, commits in between."""
    rng = np.random.default_rng(5)
    rig = Rig(tmp_path, HandClock(synchronised=False, wall_ns=0))
    told = 0
    async with rig.spool:
        for _ in range(40):
            rig.poll(int(rng.integers(1, 8)))
            if rng.random() < 0.3:
                await rig.spool.commit()
            before = rig.hand.clock.stamp
            rig.step(int(rng.integers(-HOUR_NS, HOUR_NS)), synchronised=bool(rng.random() < 0.7))
            told += before != rig.hand.clock.stamp
        blocks = await rig.delivered()
    assert [value for value, _, _ in rows(blocks, "raw")] == list(range(rig.polls))
    assert len(steps(blocks)) == told
