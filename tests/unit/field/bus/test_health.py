from __future__ import annotations

import pytest

from gateway.field.health import Health, ProbeShare, State
from gateway.readings import Quality


def test_two_failures_bring_a_unit_down_one_success_brings_it_back() -> None:
    health = Health()
    health.failed(Quality.BAD_TIMEOUT, 0.0)
    assert health.state.value == "suspect"
    health.failed(Quality.BAD_DECODE, 1.0)
    assert (health.state, health.quality) == (State.DOWN, Quality.BAD_DECODE)
    assert 1.75 <= health.probe_at <= 2.0
    health.answered()
    assert health.state.value == "ok"


def test_probes_back_off_to_a_minute_with_jitter() -> None:
    health, now, waits = Health(), 0.0, []
    for _ in range(12):
        health.failed(Quality.BAD_TIMEOUT, now)
        if health.state is State.DOWN:
            waits.append(health.probe_at - now)
            now = health.probe_at
    for wait, longest in zip(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60], strict=False):
        assert 0.75 * longest <= wait <= longest


def test_a_new_link_asks_a_dead_unit_at_once() -> None:
    health = Health()
    health.look_now(5.0)
    assert health.state is State.OK
    for _ in range(2):
        health.failed(Quality.BAD_TIMEOUT, 0.0)
    health.look_now(5.0)
    assert health.probe_at == 5.0


def test_probes_have_a_share_of_the_buss_time() -> None:
    share = ProbeShare(share=0.05)
    share.spent(2.0, 100.0)
    assert share.free_at == pytest.approx(138.0)
