from __future__ import annotations

import numpy as np

from gateway.readings import Quality, Readings, Tag, TagTable, text_hash
from gateway.runtime.counters import Counters
from gateway.runtime.latest import Latest

TABLE = TagTable([Tag("a", "x"), Tag("a", "y", "string"), Tag("b", "z")])


def test_nothing_yet() -> None:
    latest = Latest(TABLE)
    assert np.isnan(latest.value).all()
    assert latest.time_ns.tolist() == [0, 0, 0]
    assert set(latest.quality.tolist()) == {Quality.BAD_STALE}
    assert latest.text(1) is None


def test_the_last_row_of_a_tag_stays() -> None:
    latest = Latest(TABLE)
    word = text_hash("run")
    latest.update(
        Readings(
            np.array([0, 1, 0], np.uint32),
            np.array([10, 20, 30], np.int64),
            np.array([1.0, float(word), 2.0]),
            np.array([0, 0, Quality.UNCERTAIN_REPAIRED], np.uint8),
            {word: "run"},
        )
    )
    assert latest.value[0] == 2.0
    assert latest.time_ns.tolist() == [30, 20, 0]
    assert latest.quality[0] == Quality.UNCERTAIN_REPAIRED
    assert latest.text(1) == "run"
    latest.update(Readings.failed(np.array([1], np.uint32), 40, Quality.BAD_LINK))
    assert latest.quality[1] == Quality.BAD_LINK


def test_a_reload_makes_room_and_keeps_what_is_there() -> None:
    latest = Latest(TABLE)
    latest.update(Readings(np.array([2], np.uint32), np.array([5], np.int64), np.array([7.0]), np.zeros(1, np.uint8)))
    latest.use_table(TABLE.grown([*TABLE, Tag("c", "new")]))
    assert latest.value[2] == 7.0
    assert np.isnan(latest.value[3])
    assert len(latest.value) == len(latest.time_ns) == len(latest.quality) == 4


def test_a_tag_that_left_and_returns_has_no_reading_yet() -> None:
    latest, word = Latest(TABLE), text_hash("run")
    latest.update(
        Readings(
            np.array([1, 2], np.uint32), np.full(2, 5), np.array([word, 7.0]), np.zeros(2, np.uint8), {word: "run"}
        )
    )
    without = TABLE.grown([TABLE[0]])
    latest.use_table(without)
    latest.use_table(without.grown(TABLE))
    assert np.isnan(latest.value).all()
    assert latest.time_ns.tolist() == [0, 0, 0]
    assert set(latest.quality.tolist()) == {Quality.BAD_STALE}
    assert latest.text(1) is None


def test_counters_are_made_at_first_use() -> None:
    counters = Counters()
    counters.device("press").polled(0.25, 99)
    counters.device("press").polled(0.5, 100)
    press = counters.devices["press"]
    assert (press.polls, press.seconds, press.last_seconds, press.last_good_ns) == (2, 0.75, 0.5, 100)
    assert counters.upstream("plant") is counters.upstream("plant")
