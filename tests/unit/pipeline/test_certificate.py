"""The certificate: what was kept, and how far what was dropped lies from what a receiver rebuilds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.pipeline.certificate import Achieved, Certificates
from gateway.pipeline.engine import Pipeline
from gateway.pipeline.kernels.rebuild import rebuild
from gateway.pipeline.settings import STEPS, Step, computed
from gateway.readings import BAD, Quality, Readings, Tag, TagTable

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
Event = tuple[str, int, Mapping[str, object]]


def one_tag(*items: dict[str, Any]) -> tuple[Pipeline, Certificates, list[Event]]:
    steps: Sequence[Step] = STEPS.validate_python(list(items))
    tag = Tag("press", "t")
    table = TagTable([tag, *computed(tag, steps)])
    events: list[Event] = []
    certificates = Certificates(table, {0: steps}, lambda *event: events.append(event))
    return Pipeline(table, {0: steps}, certificates.before, certificates.after), certificates, events


def rows(value: Sequence[float], quality: Sequence[int] | None = None, start: int = 0) -> Readings:
    count = len(value)
    return Readings(
        np.zeros(count, np.uint32),
        (np.arange(count, dtype=np.int64) + start) * SECOND,
        np.array(value, np.float64),
        np.zeros(count, np.uint8) if quality is None else np.array(quality, np.uint8),
    )


def only(certificates: Certificates) -> Achieved:
    (found,) = certificates.achieved()
    return found


def exact(received: Readings, kept: Readings, *, linear: bool) -> NDArray[np.float64]:
    rebuilt = np.empty(len(received))
    rebuild(
        received.time_ns,
        received.value,
        received.quality,
        kept.time_ns,
        kept.value,
        kept.quality,
        linear,
        rebuilt,
    )
    return np.abs(rebuilt - received.value)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["swinging-door", "deadband"]), st.integers(1, 20))
def test_the_worst_error_is_the_exact_one_while_lines_are_short(seed: int, kind: str, cut: int) -> None:
    rng = np.random.default_rng(seed)
    width = {
        "swinging-door": {"deviation": 0.5, "max_interval": "40s"},
        "deadband": {"absolute": 0.5, "max_interval": "40s"},
    }
    pipeline, certificates, _ = one_tag({kind: width[kind]})
    received = rows(np.cumsum(rng.normal(size=400) * 0.3).tolist())
    bad = rng.random(400) < 0.02
    received.quality[bad] = Quality.BAD_TIMEOUT
    received.value[bad] = np.nan
    kept = [pipeline.process(received.where(slice(start, start + cut))) for start in range(0, 400, cut)]
    kept.append(pipeline.flush())
    certificates.tick(SECOND)
    found = only(certificates)
    left = Readings.join(kept)
    errors = exact(received, left, linear=kind == "swinging-door")
    assert (found.received, found.kept) == (400, len(left))
    assert found.worst_error == pytest.approx(np.nanmax(errors), abs=1e-12)
    assert found.worst_error <= 0.5 * (1 + 1e-9)
    assert found.checked == np.count_nonzero(received.quality < BAD)


def test_a_long_flat_stretch_is_sampled_and_says_so() -> None:
    pipeline, certificates, _ = one_tag({"swinging-door": {"deviation": 0.5}})
    value = np.tile([20.0, 20.3], 5000)
    pipeline.process(rows(value.tolist()))
    pipeline.flush()
    found = only(certificates)
    assert found.received == 10_000
    assert found.kept < 10
    assert 20 <= found.checked < 1000
    assert 0.0 < found.worst_error <= 0.5


def test_memory_does_not_grow_with_what_waits() -> None:
    _, certificates, _ = one_tag({"swinging-door": {"deviation": 0.5}})
    for start in range(0, 200_000, 10_000):
        certificates.before(rows([1.0] * 10_000, start=start))
        assert sum(len(each) for _, each in certificates._noted) <= 50_000
    assert only(certificates).received == 200_000


def test_deadband_is_held_against_the_last_sent_value() -> None:
    pipeline, certificates, _ = one_tag({"deadband": {"absolute": 2}})
    pipeline.process(rows([10.0, 11.5, 8.25, 13.0, 12.0]))
    found = only(certificates)
    assert (found.received, found.kept, found.checked, found.bound) == (5, 2, 5, 2.0)
    assert found.worst_error == 1.75
    assert found.ratio == 0.4


def test_what_a_broken_step_dropped_would_be_seen() -> None:
    _, certificates, _ = one_tag({"swinging-door": {"deviation": 0.5}})
    received = rows([0.0, 9.0, 0.0])
    certificates.before(received)
    certificates.after(received.where(np.array([0, 2])))
    assert only(certificates).worst_error == 9.0


def test_bad_rows_count_as_received_and_have_no_error() -> None:
    pipeline, certificates, _ = one_tag({"swinging-door": {"deviation": 0.5}})
    bad = int(Quality.BAD_TIMEOUT)
    pipeline.process(rows([1.0, 1.1, np.nan, np.nan, 9.0, 9.1], [0, 0, bad, bad, 0, 0]))
    pipeline.flush()
    found = only(certificates)
    assert (found.received, found.checked) == (6, 4)
    assert found.worst_error <= 0.5


def test_each_hour_is_told_once_and_starts_anew() -> None:
    pipeline, certificates, events = one_tag({"deadband": {"absolute": 2}})
    certificates.tick(HOUR + 1800 * SECOND)
    pipeline.process(rows([10.0, 11.5, 20.0]))
    certificates.tick(2 * HOUR - SECOND)
    assert events == []
    certificates.tick(2 * HOUR)
    certificates.tick(2 * HOUR + SECOND)
    assert events == [
        (
            "certificate",
            2 * HOUR,
            {
                "device": "press",
                "from": 5_400_000,
                "to": 7_200_000,
                "tags": [
                    {
                        "tag": "t",
                        "received": 3,
                        "kept": 2,
                        "ratio": 0.666667,
                        "worst_error": 1.5,
                        "bound": 2.0,
                        "checked": 3,
                    }
                ],
            },
        )
    ]
    assert only(certificates).received == 0
    certificates.tick(3 * HOUR)
    assert len(events) == 1  # an hour without readings is not told


def test_many_tags_are_told_in_several_events() -> None:
    steps = STEPS.validate_python([{"deadband": {"absolute": 2}}])
    table = TagTable([Tag("plc", f"t{number}") for number in range(250)])
    events: list[Event] = []
    certificates = Certificates(table, dict.fromkeys(range(250), steps), lambda *event: events.append(event))
    tags = np.arange(250, dtype=np.uint32)
    certificates.tick(SECOND)
    certificates.before(Readings(tags, np.zeros(250, np.int64), np.zeros(250), np.zeros(250, np.uint8)))
    certificates.tick(HOUR)
    sizes = [len(fields["tags"]) for _, _, fields in events]  # type: ignore[arg-type]  # a list of tags
    assert sizes == [100, 100, 50]


def test_only_tags_with_a_lossy_step_are_certified() -> None:
    pipeline, certificates, _ = one_tag({"anomaly": {}})
    pipeline.process(rows([1.0, 2.0]))
    assert certificates.achieved() == []


def test_the_bound_in_use_is_shown_where_it_may_change() -> None:
    steps = STEPS.validate_python([{"swinging-door": {"deviation": "auto"}}])
    certificates = Certificates(TagTable([Tag("press", "t")]), {0: steps}, lambda *_: None, lambda: {0: 0.25})
    assert only(certificates).bound == 0.25


def test_a_reload_keeps_the_running_hour_of_what_did_not_change() -> None:
    pipeline, first, _ = one_tag({"deadband": {"absolute": 2}})
    pipeline.process(rows([10.0, 11.5, 20.0]))
    _, second, _ = one_tag({"deadband": {"absolute": 2}})
    second.adopt(first)
    assert second.achieved() == first.achieved()
    _, changed, _ = one_tag({"deadband": {"absolute": 3}})
    changed.adopt(first)
    assert only(changed).received == 0


def test_rebuilding_knows_steps_at_one_time_and_holds() -> None:
    time_ns = np.array([0, 10, 10, 10, 20], np.int64) * SECOND
    received = Readings(np.zeros(5, np.uint32), time_ns, np.array([0.0, 5.0, 6.0, 9.0, 9.0]), np.zeros(5, np.uint8))
    kept = received.where(np.array([0, 1, 3, 4]))
    assert exact(received, kept, linear=True).tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]
    held = received.where(np.array([0, 3]))
    assert exact(received, held, linear=False).tolist() == [0.0, 5.0, 6.0, 0.0, 0.0]
