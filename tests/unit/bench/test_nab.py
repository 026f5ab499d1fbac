"""The benchmark's scorer against cases worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.bench import nab

MINUTE = 60_000_000_000


def series(rows: int = 100, *windows: tuple[int, int]) -> nab.Series:
    time_ns = np.arange(rows, dtype=np.int64) * MINUTE
    return nab.Series("x", time_ns, np.zeros(rows), tuple((first * MINUTE, last * MINUTE) for first, last in windows))


def scores(rows: int, detected: dict[int, float]) -> NDArray[np.float64]:
    found = np.zeros(rows)
    for row, value in detected.items():
        found[row] = value
    return found


def judged_score(each: nab.Series, detected: dict[int, float]) -> nab.Result:
    return nab.score([nab.judge(each)], [scores(len(each.value), detected)], len(each.windows))


def worth(position: float) -> float:
    return 2.0 / (1.0 + math.exp(5.0 * position)) - 1.0


def test_the_sigmoid_is_the_published_one() -> None:
    assert nab.scaled_sigmoid(-1.0) == pytest.approx(0.98661, abs=1e-5)
    assert nab.scaled_sigmoid(-0.5) == pytest.approx(0.84828, abs=1e-5)
    assert nab.scaled_sigmoid(0.0) == 0.0
    assert nab.scaled_sigmoid(1.0) == pytest.approx(-0.98661, abs=1e-5)
    assert nab.scaled_sigmoid(3.0) == -1.0


def test_probation_is_fifteen_percent_and_at_most_750_rows() -> None:
    assert nab.probation_rows(100) == 15
    assert nab.probation_rows(1127) == 169
    assert nab.probation_rows(22_695) == 750


def test_a_detection_at_the_left_edge_alone_is_perfect() -> None:
    found = judged_score(series(100, (40, 49)), {40: 0.9})
    assert found.score == pytest.approx(100.0)
    assert (found.threshold, found.found, found.windows, found.outside) == (0.9, 1, 1, 0)


def test_a_late_detection_is_worth_less() -> None:
    # the last row of ten lies at -1/10; relative to the left edge's worth
    raw = worth(-0.1) / worth(-1.0)
    assert judged_score(series(100, (40, 49)), {49: 0.9}).score == pytest.approx(100 * (raw + 1) / 2)


def test_only_the_best_detection_of_a_window_counts() -> None:
    alone = judged_score(series(100, (40, 49)), {42: 0.9})
    more = judged_score(series(100, (40, 49)), {42: 0.9, 43: 0.9, 49: 0.9})
    assert more.score == pytest.approx(alone.score)


def test_a_false_detection_before_any_window_costs_the_full_weight() -> None:
    found = judged_score(series(100, (40, 49)), {20: 0.9, 40: 0.9})
    assert found.score == pytest.approx(100 * (1 - 0.11 + 1) / 2)
    assert found.outside == 1


def test_a_false_detection_behind_a_window_costs_by_its_distance() -> None:
    # nine rows behind the right edge of ten rows: one width less a row, so position 1
    found = judged_score(series(100, (40, 49)), {40: 0.9, 58: 0.9})
    assert found.score == pytest.approx(100 * (1 + 0.11 * worth(1.0) + 1) / 2)
    far = judged_score(series(100, (40, 49)), {40: 0.9, 99: 0.9})
    assert far.score == pytest.approx(100 * (1 - 0.11 + 1) / 2)


def test_probation_is_not_judged() -> None:
    found = judged_score(series(100, (40, 49)), {0: 1.0, 14: 1.0, 40: 0.9})
    assert found.score == pytest.approx(100.0)
    assert judged_score(series(100, (40, 49)), {15: 0.9, 40: 0.9}).outside == 1


def test_one_threshold_holds_for_all_series() -> None:
    # alone each would be perfect; together the threshold that finds both windows lets the false one in
    first, second = series(100, (40, 49)), series(100, (40, 49))
    columns = [scores(100, {20: 0.5, 40: 0.9}), scores(100, {40: 0.4})]
    found = nab.score([nab.judge(first), nab.judge(second)], columns, 2)
    assert found.score == pytest.approx(100 * (2 - 0.11 + 2) / 4)
    assert found.threshold == 0.4


def test_scores_equal_in_twelve_digits_are_one_threshold() -> None:
    apart = judged_score(series(100, (40, 49)), {20: 0.9, 40: 0.9 + 2e-12})
    tied = judged_score(series(100, (40, 49)), {20: 0.9, 40: 0.9 + 2e-13})
    assert apart.score == pytest.approx(100.0)
    assert tied.score == pytest.approx(94.5)


def test_silence_scores_zero_and_so_does_what_is_worse_than_silence() -> None:
    assert judged_score(series(100, (40, 49)), {}).score == 0.0
    everywhere = dict.fromkeys([row for row in range(15, 100) if not 40 <= row < 50], 0.9)
    assert judged_score(series(100, (40, 49)), everywhere).score == 0.0


def test_a_window_partly_in_probation_counts_with_the_rows_behind_it() -> None:
    found = judged_score(series(100, (10, 29)), {12: 0.9, 15: 0.8})
    assert found.score == pytest.approx(100 * (worth(-15 / 20) / worth(-1.0) + 1) / 2)


def test_a_score_that_is_no_number_is_no_detection() -> None:
    each = series(100, (40, 49))
    column = scores(100, {40: 0.9})
    column[20:30] = np.nan
    assert nab.score([nab.judge(each)], [column], 1).score == pytest.approx(100.0)


def test_windowed_gaussian_steps_by_a_hundred_once_its_window_is_full() -> None:
    rng = np.random.default_rng(1)
    value = rng.normal(size=700)
    found = nab.windowed_gaussian(np.zeros(700, np.int64), value, window=300, step=100)
    assert found[0] == 0.0
    for row, held in ((50, value[:50]), (350, value[:300]), (399, value[:300]), (400, value[100:400])):
        distance = abs(value[row] - held.mean()) / held.std()
        assert found[row] == pytest.approx(1.0 - 0.5 * math.erfc(distance / math.sqrt(2.0)))


def test_a_folder_is_read_with_whatever_series_it_holds(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "data" / "a").mkdir(parents=True)
    labels = '{"a/x.csv": [["2014-04-01 00:01:00.000000", "2014-04-01 00:02:00.000000"]], "a/absent.csv": []}'
    (tmp_path / "labels" / "combined_windows.json").write_text(labels)
    lines = [f"2014-04-01 00:0{minute}:00,{minute}.5" for minute in range(4)]
    (tmp_path / "data" / "a" / "x.csv").write_text("timestamp,value\n" + "\n".join(lines))
    (found,) = nab.load(tmp_path)
    assert found.name == "a/x.csv"
    assert found.value.tolist() == [0.5, 1.5, 2.5, 3.5]
    start = 1_396_310_400_000_000_000
    assert found.time_ns.tolist() == [start + minute * MINUTE for minute in range(4)]
    assert found.windows == ((start + MINUTE, start + 2 * MINUTE),)
    assert nab.evaluate(tmp_path, nab.silent).score == 0.0
