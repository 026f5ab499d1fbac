"""What a reload does to a device in the middle of its poll."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from gateway.field.bus import Bus
from gateway.field.contract import FieldContext, FieldPort, Loss
from gateway.field.stations import Station
from gateway.readings import Quality, Readings, TagColumn
from gateway.runtime.clock import Clock
from gateway.runtime.counters import Counters
from tests.fakes.waiting import until

PERIOD_S = 0.05


@dataclass
class SlowStation:
    """Answers once it is let; its poll is its own."""

    device: str
    tags: TagColumn
    period_s: float = PERIOD_S
    polls: int = 0
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def unit(self) -> str:
        return self.device

    def begin(self) -> SlowStation:
        self.polls += 1
        return self

    async def attempt(self, give_way: Callable[[], Awaitable[None]]) -> bool:
        await self.answers.wait()
        return True

    def readings(self, otherwise: Quality, time_ns: int) -> Readings:
        return Readings(self.tags, np.full(1, time_ns), np.zeros(1), np.zeros(1, np.uint8))

    async def probe(self) -> None:
        raise AssertionError("nobody is down")


@dataclass
class Heard:
    rows: list[int] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)

    def readings(self, readings: Readings) -> None:
        self.rows += readings.tag.tolist()

    def loss(self, loss: Loss) -> None:
        self.losses.append(loss)

    def link(self, device: str, online: bool, reason: str) -> None:
        pass


@contextlib.asynccontextmanager
async def link() -> AsyncIterator[object]:
    yield None


async def reloaded(new: SlowStation | None) -> Heard:
    """Device 0 is in the middle of a poll when `new` takes its place, or nobody does; device 1 stays."""
    port = Heard()
    old, other = (SlowStation(f"d{n}", np.array([n], np.uint32)) for n in (0, 1))
    other.answers.set()
    context = FieldContext(cast("FieldPort", port), Clock(), Counters(), None)
    bus = Bus("bus", context, link, [cast("Station", each) for each in (old, other)])
    task = asyncio.create_task(bus.run())
    await until(lambda: old.polls == 1)
    kept = [each for each in (new, other) if each is not None]
    bus.replace([cast("Station", each) for each in kept], lambda before, after: before is after)
    old.answers.set()
    await until(lambda: all(each.polls > 2 for each in kept))
    task.cancel()
    await asyncio.wait([task])
    return port


async def test_the_slot_a_changed_device_was_in_is_told_as_missed() -> None:
    changed = SlowStation("d0", np.array([2], np.uint32))
    changed.answers.set()
    port = await reloaded(changed)
    assert 0 not in port.rows  # the tag is retired
    assert [(loss.reason, loss.tags.tolist(), loss.count) for loss in port.losses if 0 in loss.tags] == [
        ("missed_tick", [0], 1)
    ]


async def test_nobody_misses_a_device_that_left() -> None:
    port = await reloaded(None)
    assert 0 not in port.rows
    assert not [loss for loss in port.losses if 0 in loss.tags]
