"""The json payload against the contract's words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import zstandard

from gateway.block import Block, BlockId
from gateway.readings import Quality, Readings, Tag, TagTable, text_hash
from gateway.upstream.identity import Identity
from gateway.upstream.json import JsonPayload
from gateway.upstream.payload import Properties5
from tests.fakes.upstream.delivery import STAMP, block, event_block, plant

IDENTITY = Identity("welding-cell-3", "9f2c61", "1.0", {"enterprise": "acme", "site": "cangzhou"})
TABLE = TagTable(
    [
        Tag("press", "temperature", "float32", "degC"),
        Tag("press", "running", "bool"),
        Tag("press", "speed", "uint16", scale=0.1),
        Tag("meter-1", "power", "float32"),
        Tag("press", "setpoint", "int16"),
        Tag("press", "batch_id", "string"),
    ]
)
TIME_NS = 1_732_258_800_123_456_000


def payload(template: str = "{gateway}/{device}", **options: Any) -> JsonPayload:
    return JsonPayload(IDENTITY, template, properties=Properties5(IDENTITY, enabled=True), **options)


def of(rows: list[tuple[int, float, int]], texts: dict[int, str] | None = None) -> Block:
    tag, value, quality = (list(column) for column in zip(*rows, strict=True))
    readings = Readings(
        np.array(tag, np.uint32),
        np.full(len(rows), TIME_NS, np.int64),
        np.array(value, np.float64),
        np.array(quality, np.uint8),
        texts or {},
    )
    return Block(BlockId("9f2c61", 1042), TABLE, readings, (), STAMP, TIME_NS)


def test_one_message_per_device_as_in_the_contract() -> None:
    key = text_hash("B-17")
    rows = [
        (0, 211.5, 0),
        (3, 4.0, 0),
        (1, 1.0, 0),
        (2, float("nan"), int(Quality.BAD_TIMEOUT)),
        (4, 900.0, int(Quality.UNCERTAIN_CLOCK)),
        (5, float(key), 0),
        (0, 999.0, int(Quality.BAD_RANGE)),
    ]
    press, meter = payload().messages(of(rows, {key: "B-17"}), 65536)
    assert (press.topic, meter.topic) == ("welding-cell-3/press/data", "welding-cell-3/meter-1/data")
    assert (press.readings, press.qos, press.retain) == (6, 1, False)
    time = 1_732_258_800_123
    assert json.loads(press.payload) == {
        "gateway": "welding-cell-3",
        "device": "press",
        "boot": "9f2c61",
        "block": 1042,
        "readings": [
            {"tag": "temperature", "time": time, "value": 211.5, "quality": "good"},
            {"tag": "running", "time": time, "value": True, "quality": "good"},
            {"tag": "speed", "time": time, "value": None, "quality": "bad", "reason": "timeout"},
            {"tag": "setpoint", "time": time, "value": 900, "quality": "uncertain", "reason": "clock"},
            {"tag": "batch_id", "time": time, "value": "B-17", "quality": "good"},
            {"tag": "temperature", "time": time, "value": 999.0, "quality": "bad", "reason": "range"},
        ],
    }
    assert b'"value":900,' in press.payload
    assert json.loads(meter.payload)["readings"][0]["value"] == 4.0


def test_topics_follow_the_template() -> None:
    (message,) = payload("{enterprise}/{site}/x/{gateway}/{device}").messages(of([(0, 1.0, 0)]), 65536)
    assert message.topic == "acme/cangzhou/x/welding-cell-3/press/data"


def test_with_tag_in_the_topic_each_reading_is_a_message() -> None:
    first, second = payload("{gateway}/{device}/{tag}").messages(of([(4, 900.0, 0), (3, 1.5, 0)]), 65536)
    assert (first.topic, second.topic) == ("welding-cell-3/press/setpoint", "welding-cell-3/meter-1/power")
    assert json.loads(first.payload) == {
        "gateway": "welding-cell-3",
        "device": "press",
        "tag": "setpoint",
        "time": 1_732_258_800_123,
        "value": 900,
        "quality": "good",
        "boot": "9f2c61",
        "block": 1042,
    }


@pytest.mark.parametrize(("unit", "time"), [("ms", TIME_NS // 10**6), ("us", TIME_NS // 10**3), ("ns", TIME_NS)])
def test_time_units(unit: str, time: int) -> None:
    (message,) = payload(time_unit=unit).messages(of([(0, 1.0, 0)]), 65536)
    assert json.loads(message.payload)["readings"][0]["time"] == time


@pytest.mark.parametrize("limit", [400, 500, 1024, 5000])
def test_parts_stay_below_the_limit_and_hold_every_reading_once(limit: int) -> None:
    table = plant(2, 3)
    messages = payload().messages(block(0, table, 200), limit)
    assert max(message.size for message in messages) <= limit
    for device in ("d0", "d1"):
        bodies = [json.loads(message.payload) for message in messages if f"/{device}/" in message.topic]
        assert [body["part"] for body in bodies] == list(range(len(bodies)))
        values = [reading["value"] for body in bodies for reading in body["readings"]]
        assert values == [row / 8 for row in range(200) if (row % 6) // 3 == int(device[1])]
    assert sum(message.readings for message in messages) == 200


def test_parts_are_filled_well() -> None:
    messages = payload().messages(block(0, plant(1, 3), 2000), 4096)
    assert min(message.size for message in messages[:-1]) > 3900


def test_a_block_that_fits_has_no_part() -> None:
    (message,) = payload().messages(block(0, plant(1, 3), 3), 65536)
    assert "part" not in json.loads(message.payload)


def test_a_reading_above_the_limit_goes_alone() -> None:
    key = text_hash("x" * 2000)
    messages = payload().messages(of([(0, 1.0, 0), (5, float(key), 0), (0, 2.0, 0)], {key: "x" * 2000}), 1024)
    assert [message.readings for message in messages] == [1, 1, 1]


def test_only_selected_tags_leave() -> None:
    rows = [(0, 1.0, 0), (3, 2.0, 0), (5, 5.0, 0)]
    messages = payload(select=["press.*", "!press.batch_id"]).messages(of(rows, {5: "secret"}), 65536)
    assert [json.loads(message.payload)["device"] for message in messages] == ["press"]
    assert b"secret" not in messages[0].payload
    assert payload(select=["nothing.*"]).messages(of(rows), 65536) == []


def test_compressed_payloads_are_one_zstd_frame() -> None:
    (message,) = payload(compress=True).messages(of([(0, 1.0, 0)]), 65536)
    plain = payload().messages(of([(0, 1.0, 0)]), 65536)[0].payload
    assert zstandard.decompress(message.payload) == plain


def test_events_about_a_tag_that_may_not_leave_stay() -> None:
    events = (b'{"event":"alarm","tag":"d0.t0","value":1}', b'{"event":"alarm","tag":"d1.t0"}', b'{"event":"reload"}')
    messages = payload(select=["d1.*"]).messages(event_block(3, *events), 65536)
    assert [message.payload for message in messages] == list(events[1:])
    assert len(payload().messages(event_block(3, *events), 65536)) == 3


def test_events_are_one_message_each() -> None:
    messages = payload(select=["nothing.*"]).messages(event_block(3, b'{"event":"loss"}', b'{"event":"power"}'), 65536)
    assert [message.topic for message in messages] == ["welding-cell-3/events"] * 2
    assert messages[1].payload == b'{"event":"power"}'


def test_the_same_block_gives_the_same_messages() -> None:
    table = plant()
    assert payload().messages(block(0, table, 100), 1024) == payload().messages(block(0, table, 100), 1024)


def test_user_properties_carry_the_identity() -> None:
    (message,) = payload().messages(of([(0, 1.0, 0)]), 65536)
    for word in (b"welding-cell-3", b"9f2c61", b"1042", b"press"):
        assert word in message.properties
    old = JsonPayload(IDENTITY, "{gateway}/{device}", properties=Properties5(IDENTITY, enabled=False))
    assert old.messages(of([(0, 1.0, 0)]), 65536)[0].properties == b"\x00"
