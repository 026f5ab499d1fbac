from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from gateway.runtime.status.metrics import render
from tests.fakes.status import FakePlant

CONTRACT = {
    "gateway_readings_total": {"stage"},
    "gateway_readings_lost_total": {"reason"},
    "gateway_backlog_readings": set(),
    "gateway_backlog_age_seconds": set(),
    "gateway_spool_bytes": set(),
    "gateway_device_up": {"device"},
    "gateway_poll_duration_seconds": {"device"},
    "gateway_poll_lateness_seconds": set(),
    "gateway_polls_missed_total": {"device"},
    "gateway_poll_errors_total": {"device", "reason"},
    "gateway_upstream_up": {"upstream"},
    "gateway_messages_in_flight": {"upstream"},
    "gateway_publish_latency_seconds": {"upstream"},
    "gateway_event_loop_lag_seconds": set(),
}


def samples(plant: FakePlant) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    text = render(plant.counters, plant.view.health(), plant.view.build).decode()
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def moved() -> FakePlant:
    plant = FakePlant(more=50)
    plant.move(0)
    plant.incident()
    return plant


def test_every_metric_of_the_contract_with_its_labels() -> None:
    found = samples(moved())
    for name, labels in CONTRACT.items():
        assert name in found, name
        for sample in found[name]:
            assert {label for label, _ in sample} == labels, name
    assert "gateway_build_info" in found


def test_the_figures() -> None:
    found = samples(moved())
    assert found["gateway_readings_total"] == {
        (("stage", "polled"),): 1204.0,
        (("stage", "kept"),): 190.0,
        (("stage", "acknowledged"),): 190.0,
    }
    lost = found["gateway_readings_lost_total"]
    assert lost.pop((("reason", "missed_tick"),)) == 14.0
    assert lost == {(("reason", reason),): 0.0 for reason in ("power", "spool_age", "spool_corrupt", "spool_full")}
    assert found["gateway_device_up"][("device", "meter-2"),] == 0.0
    assert found["gateway_poll_errors_total"] == {(("device", "meter-2"), ("reason", "timeout")): 1.0}
    assert found["gateway_upstream_up"] == {(("upstream", "plant"),): 1.0, (("upstream", "cloud"),): 0.0}


def test_series_do_not_grow_with_the_tags() -> None:
    few, many = FakePlant(more=1), FakePlant(more=5000)
    assert sum(map(len, samples(few).values())) == sum(map(len, samples(many).values()))


def test_names_follow_prometheus() -> None:
    for name in samples(moved()):
        assert name.startswith("gateway_")
        assert not name.endswith(("_ms", "_percent", "_milliseconds"))


def test_certificates_are_told_by_tag_and_bounded() -> None:
    plant = FakePlant()
    rows = [{"tag": f"press.t{n}", "ratio": 0.25, "worst_error": 0.4, "bound": 0.5} for n in range(1500)]
    text = render(plant.counters, plant.view.health(), plant.view.build, rows).decode()
    assert 'gateway_tag_kept_ratio{tag="press.t0"} 0.25' in text
    assert 'gateway_tag_worst_error{tag="press.t7"} 0.4' in text
    assert 'gateway_tag_error_bound{tag="press.t7"} 0.5' in text
    assert text.count("gateway_tag_kept_ratio{") == 1000
