from __future__ import annotations

import numpy as np
import pytest

from gateway.readings import Quality, Readings, Tag, text_hash
from gateway.tools.probe_report import Probed, Sight, refused, sight, to_json, to_lines

TAG = Tag("press", "speed", "uint16", "rpm", address="holding:120 (40121)")


def _seen(value: float | str) -> Sight:
    return Sight(value, "good", 0.004)


@pytest.mark.parametrize(
    ("single", "block", "again", "differs"),
    [
        (5.0, 5.0, None, False),
        (5.0, 6.0, None, True),
        (5.0, 6.0, 7.0, False),  # it moved meanwhile
        (5.0, 9.0, 7.0, True),
        ("a", "a", None, False),
        ("a", "b", "b", False),
        ("a", "b", "c", True),
    ],
)
def test_a_difference_is_what_a_moving_value_cannot_explain(
    single: float | str, block: float | str, again: float | str | None, differs: bool
) -> None:
    probed = Probed(TAG, _seen(single), _seen(block), None if again is None else _seen(again))
    assert probed.difference is differs
    assert probed.fine is not differs


def test_a_block_that_is_refused_differs() -> None:
    assert Probed(TAG, _seen(1.0), refused(Quality.BAD_EXCEPTION, 0.1, "exception 2")).difference
    nothing = refused(Quality.BAD_TIMEOUT, 0.1, "no answer")
    assert not Probed(TAG, nothing, nothing).difference
    assert not Probed(TAG, nothing, nothing).fine


def test_a_sight_is_the_newest_reading() -> None:
    word = "M8"
    readings = Readings(
        np.array([0, 1, 0], np.uint32),
        np.zeros(3, np.int64),
        np.array([1.5, text_hash(word), np.nan]),
        np.array([0, 0, Quality.BAD_RANGE], np.uint8),
        {text_hash(word): word},
    )
    assert sight(readings, 1, 0.5) == Sight("M8", "good", 0.5)
    assert sight(readings, 0, 0.5) == Sight(None, "bad/range", 0.5)


def test_reports_show_value_time_and_difference() -> None:
    probed = [Probed(TAG, _seen(5.0), _seen(900.0)), Probed(TAG, refused(Quality.BAD_EXCEPTION, 0.1, "exception 2"))]
    _, differing, failing = to_lines(probed)
    text = f"{differing}\n{failing}"
    assert (differing.style, failing.style) == ("bold red", "red")
    for part in ("press.speed", "holding:120", "5 rpm", "4.0", "900", "DIFFERS", "exception 2", "bad/exception"):
        assert part in text
    rows = to_json(probed)
    assert rows[0]["differs"] is True
    assert rows[1]["single"]["detail"] == "exception 2"
