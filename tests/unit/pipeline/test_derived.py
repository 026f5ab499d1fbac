"""Derived tags: when they are computed, from what, and how good the result is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from gateway.pipeline.derived import Derived, DerivedSettings, resolve
from gateway.readings import Quality, Readings, Tag, TagTable

MS = 1_000_000
RAW = (Tag("press", "voltage", unit="V"), Tag("press", "current", unit="A"), Tag("meter-1", "power", unit="W"))
VOLTAGE, CURRENT, POWER = 0, 1, 2
Row = tuple[int, int, float, int]
Found = tuple[int, int, float | None, int]  # None: no value


def settings(**tags: Any) -> DerivedSettings:
    entries = {name: entry if isinstance(entry, dict) else {"expression": entry} for name, entry in tags.items()}
    return DerivedSettings.model_validate({"tags": entries})


def built(**tags: Any) -> tuple[Derived, TagTable]:
    given = settings(**tags)
    found, faults = resolve(given, {tag.full_name: tag for tag in RAW})
    assert faults == []
    table = TagTable([*RAW, *found.values()])
    return Derived(table, given), table


def rows(*given: Row) -> Readings:
    """(tag, time in ms, value, quality)"""
    return Readings(
        np.array([row[0] for row in given], np.uint32),
        np.array([row[1] * MS for row in given], np.int64),
        np.array([row[2] for row in given], np.float64),
        np.array([row[3] for row in given], np.uint8),
    )


def added(derived: Derived, *given: Row) -> list[Found]:
    found = derived.process(rows(*given))
    assert found.tag[: len(given)].tolist() == [row[0] for row in given], "what came in stays in front"
    extra = found.where(slice(len(given), None))
    values: list[float | None] = [None if np.isnan(value) else value for value in extra.value.tolist()]
    times = (extra.time_ns // MS).tolist()
    return list(zip(extra.tag.tolist(), times, values, extra.quality.tolist(), strict=True))


def test_one_poll_that_brings_all_inputs_gives_one_reading_at_the_newest_time() -> None:
    derived, table = built(power="press.voltage * press.current")
    assert table[3].full_name == "derived.power"
    assert added(derived, (VOLTAGE, 100, 230.0, 0), (CURRENT, 103, 2.0, 0)) == [(3, 103, 460.0, Quality.GOOD)]


def test_a_poll_that_brings_one_input_takes_the_newest_of_the_others() -> None:
    derived, _ = built(power="press.voltage * press.current")
    added(derived, (VOLTAGE, 100, 230.0, 0), (CURRENT, 100, 2.0, 0))
    assert added(derived, (CURRENT, 200, 3.0, 0)) == [(3, 200, 690.0, 0)]
    assert added(derived, (POWER, 300, 3.0, 0)) == []


def test_before_every_input_came_the_result_is_bad() -> None:
    derived, _ = built(power="press.voltage * press.current")
    assert added(derived, (VOLTAGE, 100, 230.0, 0)) == [(3, 100, None, Quality.BAD_STALE)]


def test_the_worst_quality_wins() -> None:
    derived, _ = built(power="press.voltage * press.current")
    mark = Quality.UNCERTAIN_REPAIRED
    assert added(derived, (VOLTAGE, 1, 2.0, mark), (CURRENT, 1, 3.0, 0)) == [(3, 1, 6.0, mark)]
    gone = Quality.BAD_TIMEOUT
    assert added(derived, (VOLTAGE, 2, np.nan, gone)) == [(3, 2, None, gone)]
    assert added(derived, (CURRENT, 3, 5.0, 0)) == [(3, 3, None, gone)]
    assert added(derived, (VOLTAGE, 4, 2.0, 0)) == [(3, 4, 10.0, 0)]


def test_what_cannot_be_computed_is_bad() -> None:
    derived, _ = built(share="press.voltage / press.current")
    assert added(derived, (VOLTAGE, 1, 2.0, 0), (CURRENT, 1, 0.0, 0)) == [(3, 1, None, Quality.BAD_DECODE)]


def test_outside_its_range_a_result_is_bad_and_keeps_its_value() -> None:
    derived, table = built(double={"expression": "press.voltage * 2", "unit": "V", "range": {"min": 0, "max": 100}})
    assert (table[3].low, table[3].high, table[3].unit) == (0.0, 100.0, "V")
    assert added(derived, (VOLTAGE, 1, 60.0, 0)) == [(3, 1, 120.0, Quality.BAD_RANGE)]
    assert added(derived, (VOLTAGE, 2, 50.0, 0)) == [(3, 2, 100.0, Quality.GOOD)]


def test_a_publish_with_several_rows_of_a_tag_gives_a_reading_for_each_moment() -> None:
    derived, _ = built(power="press.voltage * press.current")
    grouped_by_tag = added(
        derived,
        (VOLTAGE, 100, 1.0, 0),
        (VOLTAGE, 200, 2.0, 0),
        (VOLTAGE, 300, 3.0, 0),
        (CURRENT, 100, 10.0, 0),
        (CURRENT, 200, 20.0, 0),
        (CURRENT, 300, 30.0, 0),
    )
    assert grouped_by_tag == [(3, 100, 10.0, 0), (3, 200, 40.0, 0), (3, 300, 90.0, 0)]


def test_readings_of_one_time_and_of_a_clock_set_back_keep_their_order() -> None:
    derived, _ = built(power="press.voltage * press.current")
    repeated = added(derived, (VOLTAGE, 5, 1.0, 0), (CURRENT, 5, 1.0, 0), (VOLTAGE, 5, 2.0, 0), (CURRENT, 5, 2.0, 0))
    assert repeated == [(3, 5, 1.0, 0), (3, 5, 4.0, 0)]
    back = added(derived, (VOLTAGE, 9, 3.0, 0), (CURRENT, 9, 1.0, 0), (VOLTAGE, 2, 4.0, 0), (CURRENT, 2, 1.0, 0))
    assert back == [(3, 9, 3.0, 0), (3, 2, 4.0, 0)]


def test_derived_tags_may_use_each_other_whatever_their_order() -> None:
    derived, table = built(hot="derived.power > 100", power="press.voltage * press.current")
    hot, power = table.index("derived.hot"), table.index("derived.power")
    assert table[hot].type == "bool"
    found = added(derived, (VOLTAGE, 1, 50.0, 0), (CURRENT, 1, 3.0, 0))
    assert found == [(power, 1, 150.0, 0), (hot, 1, 1.0, 0)]


def test_every_fault_is_found_with_its_place() -> None:
    given = settings(
        one="press.voltag * 2",
        two="press.voltage +",
        loop="derived.pool + 1",
        pool="derived.loop",
        fine="press.voltage",
    )
    found, faults = resolve(given, {tag.full_name: tag for tag in RAW})
    places = [place for place, _, _ in faults]
    assert places[:2] == [("tags", "one", "expression"), ("tags", "two", "expression")]
    assert faults[0][1:] == ("there is no tag 'press.voltag'", 'did you mean "press.voltage"')
    assert places[2][1] in {"loop", "pool"}
    assert "derived.loop -> derived.pool" in faults[2][1] or "derived.pool -> derived.loop" in faults[2][1]
    assert list(found) == ["loop", "pool", "fine"]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"expression": {"press.voltage": None}}, "put the expression in quotes"),
        ({"expression": ""}, "at least 1 character"),
        ({"expresion": "press.voltage"}, "Extra inputs"),
        ({"expression": "press.voltage", "range": {"low": 1}}, "Extra inputs"),
    ],
)
def test_a_wrong_entry_is_refused(entry: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        settings(power=entry)


def test_the_section_needs_a_tag() -> None:
    with pytest.raises(ValidationError):
        DerivedSettings.model_validate({"tags": {}})


def test_a_reload_keeps_the_newest_inputs_of_what_did_not_change() -> None:
    first, _ = built(power="press.voltage * press.current", other="press.voltage + press.current")
    added(first, (VOLTAGE, 1, 230.0, 0), (CURRENT, 1, 2.0, 0))
    second, _ = built(power="press.voltage * press.current", other="press.voltage - press.current")
    second.adopt(first)
    assert added(second, (CURRENT, 2, 3.0, 0)) == [(3, 2, 690.0, 0), (4, 2, None, Quality.BAD_STALE)]


def test_without_derived_tags_a_poll_is_handed_on_as_it_is() -> None:
    given = rows((VOLTAGE, 1, 2.0, 0))
    assert Derived(TagTable(RAW), None).process(given) is given


def test_a_poll_that_brings_no_input_is_handed_on_as_it_is() -> None:
    derived, _ = built(power="press.voltage * press.current", twice="derived.power * 2")
    given = rows((POWER, 1, 2.0, 0))
    assert derived.process(given) is given
    assert len(derived.process(rows((POWER, 1, 2.0, 0), (CURRENT, 1, 2.0, 0)))) == 4


def test_columns_handed_in_are_not_written_to() -> None:
    derived, _ = built(power="press.voltage * press.current")
    given = rows((VOLTAGE, 1, 2.0, 0), (CURRENT, 1, 0.0, 0))
    before = given.value.tolist(), given.quality.tolist()
    derived.process(given)
    assert (given.value.tolist(), given.quality.tolist()) == before
