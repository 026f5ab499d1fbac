"""Alarms: when they are raised and cleared, what is told, and what an acknowledgement does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.pipeline.alarms import Alarms, AlarmSettings, State, problems
from gateway.pipeline.engine import Pipeline
from gateway.pipeline.settings import STEPS, computed, computed_alarms
from gateway.readings import Quality, Readings, Tag, TagTable

SECOND = 1_000_000_000
TABLE = TagTable([Tag("press", "t", unit="degC"), Tag("press", "t.anomaly"), Tag("press", "quiet")])
Row = tuple[float, float] | tuple[float, float, int]


@dataclass
class Told:
    """The events so far."""

    events: list[tuple[str, int, Mapping[str, object]]] = field(default_factory=list)

    def __call__(self, kind: str, time_ns: int, fields: Mapping[str, object]) -> None:
        self.events.append((kind, time_ns, fields))

    def short(self) -> list[tuple[float, object, object, object]]:
        return [
            (time_ns / SECOND, fields["change"], fields["condition"], fields["value"])
            for _, time_ns, fields in self.events
        ]


def built(*tags: int, **keys: Any) -> tuple[Alarms, Told]:
    told = Told()
    settings = AlarmSettings.model_validate(keys)
    return Alarms(TABLE, dict.fromkeys(tags or (0,), settings), told), told


def rows(*given: Row, tag: int = 0) -> Readings:
    """(seconds, value, quality or good)"""
    return Readings(
        np.full(len(given), tag, np.uint32),
        np.array([round(row[0] * SECOND) for row in given], np.int64),
        np.array([row[1] for row in given], np.float64),
        np.array([row[2] if len(row) > 2 else 0 for row in given], np.uint8),
    )


def test_a_limit_that_is_exceeded_raises_and_the_way_back_clears() -> None:
    alarms, told = built(high=80, low=5, severity="high")
    alarms.check(rows((0, 50), (1, 80), (2, 81), (3, 90), (4, 80), (5, 5), (6, 4), (7, 5)))
    assert told.short() == [
        (2, "raised", "high", 81),
        (4, "cleared", "high", 80),
        (6, "raised", "low", 4),
        (7, "cleared", "low", 5),
    ]
    kind, time_ns, fields = told.events[0]
    assert (kind, time_ns) == ("alarm", 2 * SECOND)
    assert fields == {
        "tag": "press.t",
        "change": "raised",
        "state": "unacknowledged",
        "condition": "high",
        "limit": 80.0,
        "value": 81.0,
        "severity": "high",
    }


def test_hysteresis_holds_an_alarm_until_the_value_is_well_back() -> None:
    alarms, told = built(high=80, low=5, hysteresis=2)
    alarms.check(rows((0, 81), (1, 79), (2, 78.1), (3, 81), (4, 78), (5, 4), (6, 6), (7, 7)))
    assert told.short() == [
        (0, "raised", "high", 81),
        (4, "cleared", "high", 78),
        (5, "raised", "low", 4),
        (7, "cleared", "low", 7),
    ]


def test_the_delay_must_pass_without_a_break() -> None:
    alarms, told = built(high=80, delay="5s")
    alarms.check(rows((0, 81), (4.9, 85), (5, 79), (6, 81), (10, 82)))
    assert told.short() == []
    alarms.check(rows((11, 83)))
    assert told.short() == [(11, "raised", "high", 83)]


def test_the_delay_ends_without_a_reading_too() -> None:
    alarms, told = built(high=80, delay="5s")
    alarms.check(rows((10, 81)))
    alarms.tick(int(14.9 * SECOND))
    assert told.short() == []
    alarms.tick(15 * SECOND)
    alarms.tick(16 * SECOND)
    assert told.short() == [(15, "raised", "high", 81)]


def test_a_jump_from_one_limit_to_the_other_is_two_alarms() -> None:
    alarms, told = built(high=80, low=5)
    alarms.check(rows((0, 81), (1, 4)))
    assert told.short() == [(0, "raised", "high", 81), (1, "cleared", "high", 4), (1, "raised", "low", 4)]


@pytest.mark.parametrize("quality", [Quality.BAD_TIMEOUT, Quality.BAD_RANGE])
def test_a_bad_reading_neither_raises_nor_clears(quality: Quality) -> None:
    alarms, told = built(high=80)
    alarms.check(rows((0, 500, quality), (1, np.nan, 0)))
    assert told.short() == []
    alarms.check(rows((2, 90), (3, 10, quality), (4, np.nan)))
    assert told.short() == [(2, "raised", "high", 90)]
    assert alarms.status()[0].value == 90


def test_a_bad_reading_ends_a_wait() -> None:
    alarms, told = built(high=80, delay="5s")
    alarms.check(rows((0, 81), (3, np.nan, Quality.BAD_LINK)))
    alarms.tick(20 * SECOND)
    alarms.check(rows((21, 81), (25, 81)))
    assert told.short() == []
    alarms.check(rows((26, 81)))
    assert told.short() == [(26, "raised", "high", 81)]


def test_uncertain_readings_count() -> None:
    alarms, told = built(high=80)
    alarms.check(rows((0, 90, Quality.UNCERTAIN_CLOCK)))
    assert told.short() == [(0, "raised", "high", 90)]


def test_a_clock_set_back_starts_the_wait_anew() -> None:
    alarms, told = built(high=80, delay="5s")
    alarms.check(rows((100, 81), (50, 82), (54, 83)))
    assert told.short() == []
    alarms.check(rows((55, 83)))
    assert told.short() == [(55, "raised", "high", 83)]


def test_the_states_are_those_of_isa_18_2() -> None:
    alarms, told = built(high=80)

    def state() -> State:
        return alarms.status()[0].state

    assert state() is State.NORMAL
    assert not alarms.acknowledge(0, 0)
    alarms.check(rows((1, 90)))
    assert state() is State.UNACKNOWLEDGED
    alarms.check(rows((2, 10)))
    assert state() is State.RETURNED
    alarms.check(rows((3, 90)))
    assert state() is State.UNACKNOWLEDGED
    assert alarms.acknowledge(0, 4 * SECOND, user="shift-2")
    assert state() is State.ACKNOWLEDGED
    assert not alarms.acknowledge(0, 5 * SECOND)
    alarms.check(rows((6, 10)))
    assert state() is State.NORMAL
    alarms.check(rows((7, 90), (8, 10)))
    assert alarms.acknowledge(0, 9 * SECOND)
    assert state() is State.NORMAL
    assert [row[1] for row in told.short()] == [
        "raised",
        "cleared",
        "raised",
        "acknowledged",
        "cleared",
        "raised",
        "cleared",
        "acknowledged",
    ]
    assert told.events[3][2]["user"] == "shift-2"
    assert "user" not in told.events[7][2]
    assert [fields["state"] for _, _, fields in told.events[-2:]] == ["returned_unacknowledged", "normal"]


def test_a_tag_without_an_alarm_has_nothing_to_acknowledge() -> None:
    alarms, told = built(high=80)
    assert not alarms.acknowledge(2, 0)
    alarms.check(rows((0, 500), tag=2))
    assert told.short() == []


def test_tags_of_one_poll_are_looked_at_in_order() -> None:
    alarms, told = built(0, 1, high=0.5)
    tags = np.array([1, 2, 0, 1], np.uint32)
    alarms.check(Readings(tags, np.arange(4) * SECOND, np.array([0.9, 9.0, 0.8, 0.1]), np.zeros(4, np.uint8)))
    assert [(fields["tag"], fields["change"]) for _, _, fields in told.events] == [
        ("press.t.anomaly", "raised"),
        ("press.t", "raised"),
        ("press.t.anomaly", "cleared"),
    ]


@profile(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 3), st.sampled_from([0, 4, 6, 50, 78, 79, 81, 90]), st.booleans()), max_size=30),
    st.integers(1, 30),
    st.integers(0, 3),
)
def test_polls_of_any_size_tell_the_same(steps: list[tuple[int, int, bool]], cut: int, delay: int) -> None:
    given_rows: list[Row] = []
    now = 100.0
    for elapsed, value, bad in steps:
        now += elapsed
        given_rows.append((now, value, Quality.BAD_TIMEOUT) if bad else (now, value))
    whole, told = built(high=80, low=5, hysteresis=2, delay=f"{delay}s")
    parts, told_parts = built(high=80, low=5, hysteresis=2, delay=f"{delay}s")
    whole.check(rows(*given_rows))
    for start in range(0, len(given_rows), cut):
        parts.check(rows(*given_rows[start : start + cut]))
    assert told.events == told_parts.events
    changes = [change for _, change, _, _ in told.short()]
    assert changes == ["raised", "cleared"] * (len(changes) // 2) + ["raised"] * (len(changes) % 2)


def test_a_reload_keeps_an_alarm_that_did_not_change() -> None:
    first, _ = built(high=80)
    first.check(rows((1, 90)))
    first.acknowledge(0, 2 * SECOND)
    second, told = built(high=80)
    second.adopt(first)
    assert second.status() == first.status()
    second.check(rows((3, 91)))
    assert told.short() == []
    changed, told = built(high=85)
    changed.adopt(first)
    assert changed.status()[0].state is State.NORMAL
    changed.check(rows((3, 91)))
    assert told.short() == [(3, "raised", "high", 91)]


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({}, "expected high, low or both"),
        ({"high": 5, "low": 5}, "high above low"),
        ({"high": 10, "low": 5, "hysteresis": 2.5}, "twice the hysteresis"),
        ({"high": 10, "hysteresis": -1}, "greater than or equal to 0"),
        ({"high": 10, "delay": 5}, "expected a duration"),
        ({"high": 10, "severity": "very bad"}, "severity"),
        ({"high": 10, "severity": 2000}, "severity"),
        ({"hi": 10}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(keys: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        AlarmSettings.model_validate(keys)


def test_severity_is_a_word_or_a_number_up_to_1000() -> None:
    assert AlarmSettings.model_validate({"high": 1}).severity == "medium"
    assert AlarmSettings.model_validate({"high": 1, "severity": "critical"}).severity == "critical"
    assert AlarmSettings.model_validate({"high": 1, "severity": 700}).severity == 700


def test_an_alarm_may_stand_on_a_score() -> None:
    steps = STEPS.validate_python([{"anomaly": {"alarm": {"high": 0.3}}}])
    tag = Tag("press", "t")
    assert computed_alarms(tag, steps) == {"t.anomaly": AlarmSettings(high=0.3)}
    assert computed_alarms(tag, STEPS.validate_python([{"anomaly": {}}])) == {}
    table = TagTable([tag, *computed(tag, steps)])
    told = Told()
    alarms = Alarms(table, {1: AlarmSettings(high=0.3)}, told)
    value = np.append(np.random.default_rng(1).normal(size=1000), 60.0)
    seen = Readings(np.zeros(1001, np.uint32), np.arange(1001) * SECOND, value, np.zeros(1001, np.uint8))
    Pipeline(table, {0: steps}, alarms.check).process(seen)
    assert [(fields["tag"], fields["change"]) for _, _, fields in told.events[-1:]] == [("press.t.anomaly", "raised")]
    assert told.events[-1][1] == 1000 * SECOND


def test_text_has_no_alarm() -> None:
    assert problems(Tag("press", "t")) == []
    assert problems(Tag("press", "batch", "string")) == ["an alarm needs numbers, batch is text"]


def test_without_alarms_nothing_is_done() -> None:
    told = Told()
    alarms = Alarms(TABLE, {}, told)
    alarms.check(rows((0, 500)))
    alarms.tick(SECOND)
    assert alarms.status() == []
    assert told.events == []
