"""A tag that left with one reload and returns at its old index with a later one: nothing of its first life is left."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gateway.pipeline.alarms import Alarms, AlarmSettings, State
from gateway.pipeline.certificate import Certificates
from gateway.pipeline.derived import Derived, DerivedSettings, resolve
from gateway.pipeline.engine import Pipeline
from gateway.pipeline.settings import computed
from gateway.readings import Readings, Tag, TagTable
from tests.unit.pipeline.reference import Row
from tests.unit.pipeline.rows import SECOND, good, readings, rows_of, same, steps

STAYS, LEAVES = Tag("press", "stays"), Tag("press", "leaves")
HERE = TagTable([STAYS, LEAVES])
GONE = TagTable([STAYS, replace(LEAVES, retired=True)])
FIRST = [(number * SECOND, 7.0 + 0.01 * (number % 3), 0) for number in range(10)]
LATER = [(3600 * SECOND + number * SECOND, 100.0 + 3 * number, 0) for number in range(20)]


@pytest.mark.parametrize(
    "chain",
    [
        [{"deadband": {"absolute": 200}}],
        [{"on-change": {}}],
        [{"swinging-door": {"deviation": 50}}],
        [{"swinging-door": {"deviation": "auto"}}],
        [{"spike": {"window": 5}}],
        [{"median": {"window": 7}}, {"deadband": {"absolute": 1}}],
        [{"smooth": {"time_constant": "5h"}}],
        [{"counter": {"bits": 16}}],
        [{"rate": {}}],
        [{"aggregate": {"every": "2h", "compute": ["count", "mean"]}}],
        [{"vibration": {"window": 16}}],
        [{"anomaly": {}}],
    ],
    ids=str,
)
def test_its_steps_start_anew(chain: list[dict[str, Any]]) -> None:
    mine = steps(*chain)
    added = computed(LEAVES, mine)
    here = TagTable([STAYS, LEAVES, *added])
    gone = TagTable([STAYS, *(replace(tag, retired=True) for tag in (LEAVES, *added))])
    line = Pipeline(here, {1: mine})
    before = line.process(readings(FIRST, 1))
    empty = Pipeline(gone, {})
    waiting = empty.adopt(line)
    assert len(before) + len(waiting), "what waited leaves with the tag"
    back = Pipeline(here, {1: mine})
    nothing = back.adopt(empty)
    assert not len(nothing)
    fresh = Pipeline(here, {1: mine})
    for pipeline in (back, fresh):
        assert not len(pipeline.flush())
    found, wanted = (
        Readings.join([pipeline.process(readings(LATER, 1)), pipeline.tick(LATER[-1][0]), pipeline.flush()])
        for pipeline in (back, fresh)
    )
    for tag in range(1, len(here)):
        assert same(rows_of(found, tag), rows_of(wanted, tag)), here[tag].name


def test_its_alarm_is_normal() -> None:
    told: list[Mapping[str, object]] = []

    def alarms(table: TagTable, *tags: int) -> Alarms:
        limit = AlarmSettings(high=50.0, delay="10s")  # type: ignore[arg-type]  # as in the file
        return Alarms(table, dict.fromkeys(tags, limit), lambda _kind, _time, fields: told.append(fields))

    first = alarms(HERE, 0, 1)
    first.check(readings([(0, 90.0, 0), (10 * SECOND, 90.0, 0)], 1))
    assert first.status()[1].state is State.UNACKNOWLEDGED
    first.check(readings([(5 * SECOND, 90.0, 0)], 0))  # waits for its delay
    away = alarms(GONE, 0)
    away.adopt(first)
    back = alarms(HERE, 0, 1)
    back.adopt(away)
    assert [status.state for status in back.status()] == [State.NORMAL, State.NORMAL]
    assert math.isnan(back.status()[1].value)
    told.clear()
    back.tick(20 * SECOND)
    assert [fields["tag"] for fields in told] == ["press.stays"], "the wait of the one that stayed goes on"
    assert not back.acknowledge(1, 21 * SECOND)


def test_its_certificate_counts_from_zero() -> None:
    chain = steps({"deadband": {"absolute": 2}})

    def certificates(table: TagTable, *tags: int) -> Certificates:
        return Certificates(table, dict.fromkeys(tags, chain), lambda *_event: None)

    first = certificates(HERE, 0, 1)
    for tag in (0, 1):
        first.before(readings(FIRST, tag))
        first.after(readings(FIRST[:1], tag))
    away = certificates(GONE, 0)
    away.adopt(first)
    back = certificates(HERE, 0, 1)
    back.adopt(away)
    assert [(row.received, row.kept) for row in back.achieved()] == [(10, 1), (0, 0)]
    back.before(readings(LATER[:1], 1))
    back.after(readings(LATER[:1], 1))
    assert back.achieved()[1].worst_error == 0.0


def derived(table: TagTable, expression: str) -> Derived:
    settings = DerivedSettings.model_validate({"tags": {"sum": {"expression": expression}}})
    found, faults = resolve(settings, {tag.full_name: tag for tag in table if not tag.retired})
    assert faults == []
    return Derived(TagTable([*table, found["sum"]]), settings)


def computed_rows(line: Derived, rows: list[Row], tag: int, result: int) -> list[Row]:
    return rows_of(line.process(readings(rows, tag)), result)


def test_what_is_computed_from_it_waits_for_it() -> None:
    first = derived(HERE, "press.stays + press.leaves")
    computed_rows(first, [(0, 1.0, 0)], 0, 2)
    assert computed_rows(first, [(0, 2.0, 0)], 1, 2) == [(0, 3.0, 0)]
    away = derived(GONE, "press.stays + 0")
    away.adopt(first)
    back = derived(HERE, "press.stays + press.leaves")
    back.adopt(away)
    (row,) = computed_rows(back, [(SECOND, 1.0, 0)], 0, 2)
    assert math.isnan(row[1])


def test_an_input_that_changed_is_waited_for_too() -> None:
    """Its old value was in another unit: with the others' newest values it would give a good, wrong result."""
    first = derived(HERE, "press.stays + press.leaves")
    computed_rows(first, [(0, 1.0, 0)], 0, 2)
    computed_rows(first, [(0, 2000.0, 0)], 1, 2)
    settings = DerivedSettings.model_validate({"tags": {"sum": {"expression": "press.stays + press.leaves"}}})
    result = Tag("derived", "sum", address="press.stays + press.leaves")
    table = TagTable([STAYS, replace(LEAVES, retired=True), result, replace(LEAVES, scale=0.001)])
    second = Derived(table, settings)
    second.adopt(first)
    (row,) = computed_rows(second, [(SECOND, 1.0, 0)], 0, 2)
    assert math.isnan(row[1])
    assert computed_rows(second, good([2.0], start_ns=2 * SECOND), 3, 2) == [(2 * SECOND, 3.0, 0)]
