"""The units of a bus: who is news, who is probed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gateway.field.health import Health, State
from gateway.field.units import NEVER, Entry, Units
from gateway.readings import Quality
from gateway.runtime.ticks import Grid


def house(*units: int) -> tuple[Units, list[Entry]]:
    """A device for each of these unit numbers."""
    found = Units(Health)
    entries = []
    for number, unit in enumerate(units):
        station: Any = SimpleNamespace(device=f"d{number}", unit=unit)
        entries.append(Entry(station, Grid(0.0, 1.0), found.health(unit)))
    found.use(entries)
    return found, entries


def test_an_answer_is_news_once() -> None:
    """With hundreds of units on a bus nobody goes through all devices at each poll."""
    units, (one, other, _) = house(1, 1, 2)
    assert units.answered(one)
    assert not units.answered(one)
    assert not units.answered(other), "of the same unit"
    units.failed(one, Quality.BAD_TIMEOUT, 0.0)
    assert units.answered(other)
    units.look_now(0.0)
    assert units.answered(one)
    units.use([one, other])
    assert units.answered(one)


def test_only_dead_units_are_probed_the_longest_due_first() -> None:
    units, (one, two, three) = house(1, 2, 3)
    assert units.probe_at == NEVER
    assert units.to_probe(1e9, 0.0) is None
    for at, entry in ((10.0, two), (20.0, one)):
        assert units.failed(entry, Quality.BAD_TIMEOUT, at) is State.SUSPECT
        assert units.failed(entry, Quality.BAD_TIMEOUT, at) is State.DOWN
    assert units.to_probe(10.5, 0.0) is None
    assert units.to_probe(30.0, 0.0) is two
    units.probed(0.3, 30.0)
    assert units.to_probe(31.0, 0.0) is None, "probes have had their share"
    assert units.to_probe(45.0, 0.0) is two
    units.answered(two)
    assert units.to_probe(45.0, 0.0) is one
    assert units.failed(three, Quality.BAD_TIMEOUT, 45.0) is State.SUSPECT


def test_a_unit_keeps_its_health_while_it_has_a_device() -> None:
    units, (one, two) = house(1, 2)
    units.failed(one, Quality.BAD_TIMEOUT, 0.0)
    assert units.health(1) is one.health
    units.use([one])
    assert units.members(two) == ()
    assert units.health(2) is not two.health
