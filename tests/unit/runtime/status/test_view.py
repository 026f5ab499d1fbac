from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from gateway.readings import Tag
from gateway.runtime.status.openapi import description
from gateway.runtime.status.source import Selection
from gateway.runtime.status.view import Plant
from tests.fakes.status import FakePlant


@pytest.fixture
def plant() -> FakePlant:
    plant = FakePlant()
    for second in range(3):
        plant.move(second)
    plant.incident()
    return plant


def row(plant: FakePlant, name: str, **selection: Any) -> dict[str, Any]:
    return next(row for row in plant.view.tags(Selection(**selection)).rows if row["tag"] == name)


def test_overview(plant: FakePlant) -> None:
    health = plant.view.health()
    assert health["status"] == "degraded"
    assert health["reasons"] == ["device meter-2 is down: timeout", "upstream cloud is down: connection refused"]
    assert health["devices"]["press"]["up"] is True
    assert health["devices"]["meter-2"]["reason"] == "timeout"
    assert health["readings"] == {"polled": 3612, "kept": 570, "acknowledged": 570, "lost": 14}
    assert health["compression_ratio"] == 6.34
    assert health["backlog"]["readings"] == 570


def test_why_a_device_is_down_in_words(plant: FakePlant) -> None:
    plant.counters.device("meter-2").detail = "no answer within 1 s"
    reasons = plant.view.health()["reasons"]
    assert reasons[0] == "device meter-2 is down: timeout: no answer within 1 s"
    assert [device["detail"] for device in plant.view.devices()] == ["", "", "no answer within 1 s", ""]


def test_status_words(plant: FakePlant) -> None:
    plant.view.ready = False
    assert plant.view.health()["status"] == "starting"
    plant.view.ready = True
    plant.counters.device("meter-2").up = plant.counters.upstream("cloud").up = True
    assert plant.view.health()["status"] == "ok"
    plant.counters.spool.error = "No space left on device"
    assert plant.view.health()["reasons"] == ["the spool can't use its disk: No space left on device"]


def test_values_as_on_the_wire(plant: FakePlant) -> None:
    assert row(plant, "press.running")["value"] is False
    assert row(plant, "press.setpoint")["value"] == 900
    assert isinstance(row(plant, "press.setpoint")["value"], int)
    assert isinstance(row(plant, "press.speed")["value"], float)
    assert row(plant, "press.batch_id")["value"] == "A-1042"
    bad = row(plant, "meter-2.power")
    assert (bad["value"], bad["quality"], bad["reason"]) == (None, "bad", "timeout")
    assert "reason" not in row(plant, "press.running")
    assert row(plant, "press.setpoint")["writable"] is True


def test_selections(plant: FakePlant) -> None:
    assert plant.view.tags(Selection()).total == 9
    assert plant.view.tags(Selection(device="press")).total == 5
    assert plant.view.tags(Selection(search="POWER")).total == 2
    assert plant.view.tags(Selection(device="nobody")).total == 0
    poor = plant.view.tags(Selection(poor=True))
    assert [row["tag"] for row in poor.rows] == ["meter-2.power", "welder.current"]
    assert plant.view.tags(Selection(device="press", poor=True)).total == 0
    page = plant.view.tags(Selection(offset=4, limit=2))
    assert [row["tag"] for row in page.rows] == ["press.batch_id", "meter-1.power"]


def test_trends_are_bounded_and_leave_gaps(plant: FakePlant) -> None:
    for second in range(200):
        plant.move(second)
    trend = row(plant, "press.temperature", trend=True)["trend"]
    assert len(trend) == 60
    assert trend[-1] == pytest.approx(row(plant, "press.temperature")["value"])
    assert row(plant, "meter-2.power", trend=True)["trend"] == [None] * 60
    assert "trend" not in row(plant, "press.batch_id", trend=True)


def test_a_reload_shows_new_tags(plant: FakePlant) -> None:
    table = plant.table.grown([Tag("press", "temperature", "float32", "K"), *list(plant.table)[1:]])
    plant.latest.use_table(table)
    plant.view.plant = Plant(table, plant.view.plant.devices, plant.view.plant.upstreams)
    fresh = row(plant, "press.temperature", trend=True)
    assert (fresh["unit"], fresh["value"], fresh["time"], fresh["reason"]) == ("K", None, None, "stale")
    plant.view.trends.sample()
    assert plant.view.tags(Selection()).total == 9


def test_losses_and_events(plant: FakePlant) -> None:
    losses = plant.view.losses()
    assert losses["total"] == {"missed_tick": 14}
    assert losses["losses"][0]["count"] == 14
    assert [event["event"] for event in plant.view.events()] == ["reload", "clock_step"]
    for number in range(1000):
        plant.view.event({"event": "alarm", "seq": number})
    assert len(plant.view.events()) == 200
    assert plant.view.events()[0]["seq"] == 999


def test_what_comes_out_is_as_described(plant: FakePlant) -> None:
    schemas = description("1.0.0")["components"]["schemas"]
    check(plant.view.health(), schemas["Health"], schemas)
    for device in plant.view.devices():
        check(device, schemas["Device"], schemas)
    for upstream in plant.view.upstreams():
        check(upstream, schemas["Upstream"], schemas)
    for tag in plant.view.tags(Selection(trend=True)).rows:
        check(tag, schemas["Tag"], schemas)
    for line in plant.view.log():
        check(line, schemas["Line"], schemas)
    json.loads(orjson.dumps(description("1.0.0")))


KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
    "number": (int, float),
    "integer": int,
}


def check(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """The part of JSON Schema that the description uses."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "enum" in schema:
        assert value in schema["enum"]
        return
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    assert any(
        isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds
    ), (value, schema)
    if isinstance(value, dict) and "properties" in schema:
        assert set(schema["required"]) <= set(value) <= set(schema["properties"])
        for name, part in value.items():
            check(part, schema["properties"][name], schemas)
    elif isinstance(value, dict):
        for part in value.values():
            check(part, schema.get("additionalProperties", {"type": list(KINDS)}), schemas)
    elif isinstance(value, list):
        for part in value:
            check(part, schema["items"], schemas)
