"""Storms of one kind become sums that leave nothing out."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.app.storms import MORE, NAMES, WINDOW_S, Storms, names

LOSS = {"reason": "missed_tick", "from": 5, "to": 6, "count": 3, "tags": ["press.speed"]}


def test_the_first_is_told_itself_and_the_rest_in_one_sum() -> None:
    storms = Storms()
    assert storms.next_due is None
    assert storms.is_first(("loss", "missed_tick"), 1, LOSS, now=100.0)
    assert not storms.is_first(("loss", "missed_tick"), 2, LOSS, now=101.0)
    assert not storms.is_first(("loss", "missed_tick"), 3, {**LOSS, "from": 1, "to": 9, "tags": ["a.b"]}, now=102.0)
    assert storms.is_first(("loss", "power"), 4, LOSS, now=102.0)
    assert list(storms.take(100.0 + WINDOW_S - 1)) == []
    assert storms.next_due == 100.0 + WINDOW_S
    [(time_ms, kind, body)] = storms.take(100.0 + WINDOW_S)
    assert (time_ms, kind) == (3, "loss")
    assert body == {
        "reason": "missed_tick",
        "from": 1,
        "to": 9,
        "count": 6,
        "tags": ["a.b", "press.speed"],
        "times": 2,
    }


def test_after_a_quiet_minute_the_next_is_told_at_once_again() -> None:
    storms = Storms()
    assert storms.is_first(("login", ""), 1, {"count": 1}, now=0.0)
    assert list(storms.take(WINDOW_S)) == []
    assert storms.next_due is None
    assert storms.is_first(("login", ""), 1, {"count": 1}, now=WINDOW_S)


def test_a_count_nobody_knows_stays_unknown() -> None:
    storms = Storms()
    for count in (1, None, 2):
        storms.is_first(("loss", "power"), 1, {**LOSS, "count": count}, now=0.0)
    [(_, _, body)] = storms.take(WINDOW_S)
    assert body["count"] is None


def test_names_are_bounded_and_say_so() -> None:
    many = [f"tag-{number:03}" for number in range(NAMES + 1)]
    assert names(many[:NAMES]) == many[:NAMES]
    assert names(many) == [*many[:NAMES], MORE]
    assert names([*names(many), "zzz"]) == names(many)


@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.sampled_from(["missed_tick", "spool_full"]), st.integers(0, 100)), max_size=200
    )
)
def test_records_are_few_and_their_sum_is_exact(losses: list[tuple[float, str, int]]) -> None:
    storms, now = Storms(), 0.0
    told: Counter[str] = Counter()
    records = 0
    for pause, reason, count in losses:
        now += pause
        for _, _, body in storms.take(now):
            told[body["reason"]] += body["count"]
            records += 1
        if storms.is_first(("loss", reason), 1, {**LOSS, "reason": reason, "count": count}, now):
            told[reason] += count
            records += 1
    for _, _, body in storms.take(float("inf")):
        told[body["reason"]] += body["count"]
        records += 1
    expected: Counter[str] = Counter()
    for _, reason, count in losses:
        expected[reason] += count
    assert +told == +expected
    assert records <= 2 * 2 * (now / WINDOW_S + 1)
