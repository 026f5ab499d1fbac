from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.errors import LinkError
from gateway.field.contract import BusPlan
from gateway.field.devices import Devices
from gateway.field.line.settings import LineConnection
from gateway.readings import Quality, Tag
from tests.fakes.port import context_of, plan_of, settings_of

FIRST: dict[str, Any] = {"pattern": r"(?P<w>\d+)", "tags": {"weight": {"field": "w"}}}


def planned(*names: str, every: float = 10.0, more: tuple[Tag, ...] = ()) -> BusPlan:
    devices = dict.fromkeys(names, FIRST)
    return plan_of(settings_of(LineConnection, driver="line", port="/dev/null", devices=devices), every, "bus", *more)


async def test_computed_tags_of_a_device_are_not_its_own() -> None:
    plan = planned("scale", more=(Tag("scale", "weight.mean"),))
    context, _ = context_of(plan)
    assert Devices(plan, context, 0.0)["scale"].indices.tolist() == [0]


async def test_a_lost_link_makes_every_device_bad_once_and_passes_on() -> None:
    plan = planned("a", "b")
    context, port = context_of(plan)
    devices = Devices(plan, context, asyncio.get_running_loop().time())
    devices["a"].online()
    devices["b"].online()
    for _ in range(2):
        with pytest.raises(LinkError), devices.outage():
            raise LinkError("gone")
    assert [(row.tag, row.quality) for row in port.rows] == [
        ("a.weight", Quality.BAD_LINK),
        ("b.weight", Quality.BAD_LINK),
    ]
    assert port.links == [("a", True, ""), ("b", True, ""), ("a", False, "link"), ("b", False, "link")]
    assert context.counters.device("a").detail == "gone"
    devices["a"].online()
    assert not context.counters.device("a").detail


async def test_slots_of_an_outage_give_bad_rows_and_are_never_missed_ticks() -> None:
    plan = planned("a", every=0.02)
    context, port = context_of(plan)
    devices = Devices(plan, context, asyncio.get_running_loop().time())
    task = asyncio.create_task(devices.run())
    with pytest.raises(LinkError), devices.outage():
        raise LinkError("gone")
    await port.wait(lambda: len(port.rows) >= 5)
    devices.connected()
    task.cancel()
    await asyncio.wait([task])
    times = [row.time_ns for row in port.rows]
    assert times == sorted(set(times))
    assert port.losses == []


async def test_missed_ticks_are_counted_and_reported_with_their_span() -> None:
    plan = planned("a", every=1.0)
    context, port = context_of(plan)
    start = asyncio.get_running_loop().time()
    device = Devices(plan, context, start)["a"]
    first = device.grid.due
    assert device.take(first + 3.5) == first + 3.0
    (loss,) = port.losses
    assert (loss.reason, loss.count, device.counters.missed) == ("missed_tick", 3, 3)
    assert (loss.from_ns, loss.to_ns) == (context.clock.utc_of(first), context.clock.utc_of(first + 2.0))


async def test_a_reload_keeps_the_grid_of_what_did_not_change() -> None:
    plan = planned("a", "b")
    context, _ = context_of(plan)
    devices = Devices(plan, context, asyncio.get_running_loop().time())
    before = devices["a"]
    assert devices.update(planned("a", "c")) == {"c"}
    assert devices["a"] is before
    assert set(devices) == {"a", "c"}
    assert devices.update(planned("a", "c", every=5.0)) == {"a", "c"}


async def test_missed_ticks_of_a_device_that_changes_or_leaves_are_reported() -> None:
    plan = planned("a", "b", "c", every=1.0)
    context, port = context_of(plan)
    devices = Devices(plan, context, asyncio.get_running_loop().time())
    for device in devices.values():
        first = device.grid.due
        device.take(first + 3.5)  # reported at once
        device.take(first + 9.5)  # a few seconds later
    assert sum(loss.count for loss in port.losses) == 9
    devices.update(planned("a", every=2.0))
    assert sum(loss.count for loss in port.losses) == sum(device.counters.missed for device in devices.values()) * 3
