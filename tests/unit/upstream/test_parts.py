"""The small pure parts: topics, selection, properties, window, outbox, parking, suspicion, layout."""

from __future__ import annotations

import numpy as np
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.block import BlockId
from gateway.readings import Readings, Tag, TagTable
from gateway.upstream import parking as parking_module
from gateway.upstream.layout import Layout, PerTable
from gateway.upstream.message import Message, overhead, pack_properties
from gateway.upstream.outbox import MAX_ANSWERS, Outbox
from gateway.upstream.parking import Parking
from gateway.upstream.select import check_pattern, mask, selected, unmatched
from gateway.upstream.suspicion import HOLD_S, SMALLEST, TIMES, Suspicion
from gateway.upstream.topics import fields_of, fill
from gateway.upstream.twin import Twin
from gateway.upstream.window import Window
from tests.fakes.broker import parse_publish


def test_topics_are_filled_in_two_steps() -> None:
    template = fill("{enterprise}/{device}/{tag}", {"enterprise": "acme"})
    assert template == "acme/{device}/{tag}"
    assert fill(template, {"device": "press", "tag": "t.0"}) == "acme/press/t.0"
    assert fields_of(template) == {"device", "tag"}


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        (None, "press.temperature", True),
        ([], "press.temperature", True),
        (["press.*"], "press.temperature", True),
        (["press.*"], "press.zones.0", True),
        (["press.*"], "press-2.temperature", False),
        (["meter-*.power"], "meter-1.power", True),
        (["meter-*.power"], "meter-1.energy", False),
        (["press.*", "!press.batch_id"], "press.batch_id", False),
        (["!press.batch_id"], "press.batch_id", False),
        (["!press.batch_id"], "press.temperature", True),
        (["!press.*", "press.batch_id"], "press.batch_id", True),
        (["Press.*"], "press.batch_id", False),
    ],
)
def test_selection(patterns: list[str] | None, name: str, expected: bool) -> None:
    assert selected(patterns, name) is expected


def test_selection_over_a_table() -> None:
    table = TagTable([Tag("a", "x"), Tag("a", "y"), Tag("b", "x")])
    assert mask(["*.x"], table).tolist() == [True, False, True]
    assert unmatched(["*.x", "!b.*", "c.*"], [tag.full_name for tag in table]) == ["c.*"]
    with pytest.raises(ValueError, match="is no pattern"):
        check_pattern("press/temperature")


def test_packed_properties_are_what_paho_packs() -> None:
    theirs = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho left it out
    theirs.MessageExpiryInterval = 3600
    theirs.ContentType = "application/zstd"
    theirs.CorrelationData = b"\x00\x01"
    theirs.UserProperty = [("gateway", "käse" * 50), ("block", "7")]
    ours = pack_properties(
        [("gateway", "käse" * 50), ("block", "7")],
        expiry_s=3600,
        content_type="application/zstd",
        correlation=b"\x00\x01",
    )
    assert ours == theirs.pack()  # type: ignore[no-untyped-call]  # paho left it out
    assert pack_properties() == b"\x00"


def test_the_size_is_never_below_the_packet() -> None:
    message = Message("köln/data", b"x" * 200, properties=pack_properties([("a", "b")]))
    body = len("köln/data".encode()) + 2 + 2 + len(message.properties) + 200
    assert 0 <= message.size - (body + 1 + 2) <= 3
    assert overhead(message.topic, message.properties) + 200 == message.size
    publish = parse_publish(0, 2, b"\x00\x01t\x00\x07\x00x", 5, 9)
    assert (publish.topic, publish.mid, publish.payload) == ("t", 7, b"x")


def test_the_window_bounds_messages_and_bytes() -> None:
    window: Window[str] = Window(2, 100)
    assert window.has_room(1000)  # alone in it
    window.add(1, "a", 60, 0.0)
    assert window.has_room(40)
    assert not window.has_room(41)
    window.add(2, "b", 40, 1.0)
    assert not window.has_room(0)
    first = window.oldest()
    assert first is not None
    assert first.item == "a"
    assert window.release(3) is None
    released = window.release(1)
    assert released is not None
    assert (released.item, window.used, len(window)) == ("a", 40, 1)
    assert window.release(1) is None


def test_of_a_retained_topic_only_the_newest_waits() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.put(Message("state", b"%d" % number, retain=True))
        outbox.put(Message("result", b"%d" % number))
    seen = []
    while (message := outbox.first()) is not None:
        seen.append((message.topic, message.payload))
        outbox.drop_first()
    assert seen == [("result", b"0"), ("result", b"1"), ("state", b"2"), ("result", b"2")]


def test_answers_outlive_a_session_and_states_are_said_anew() -> None:
    outbox = Outbox()
    outbox.put(Message("state", b"1", retain=True))
    outbox.put(Message("result", b"2"))
    outbox.restart([Message("state", b"0", retain=True), Message("result", b"1")])
    said = []
    while (message := outbox.first()) is not None:
        said.append(message.payload)
        outbox.drop_first()
    assert said == [b"1", b"2"]


def test_answers_are_bounded() -> None:
    outbox = Outbox()
    outbox.put(Message("state", b"", retain=True))
    for number in range(MAX_ANSWERS + 10):
        outbox.put(Message("result", b"%d" % number))
    assert len(outbox) == MAX_ANSWERS + 1


def parked() -> Parking[int]:
    lot: Parking[int] = Parking(lambda item: item)
    assert lot.refuse("t", 0x87, 0.0)
    for item in (3, 1, 2):
        assert lot.put("t", item, 10)
    return lot


def test_a_refused_topic_knocks_each_minute_with_its_oldest_message() -> None:
    lot = parked()
    assert "t" in lot
    assert lot.knock(59.0) is None
    assert lot.knock(60.0) == 1
    assert lot.knock(60.0) is None  # one at a time
    assert not lot.refuse("t", 0x87, 61.0)
    lot.put("t", 1, 10)
    assert lot.knock(120.0) is None
    assert lot.knock(121.0) == 1
    assert lot.accept("t") == ([2, 3], False)
    assert ("t" in lot, lot.used, len(lot)) == (False, 0, 0)


def test_what_could_not_be_handed_over_knocks_again_at_once() -> None:
    lot = parked()
    first = lot.knock(60.0)
    assert first == 1
    lot.back("t", first, 10)
    assert lot.used == 30
    assert lot.knock(60.0) == 1


def test_other_refusals_are_tried_again_soon_then_slower() -> None:
    lot: Parking[int] = Parking(lambda item: item)
    lot.refuse("t", 0x97, 0.0)
    waits, now = [], 0.0
    lot.put("t", 1, 10)
    for _ in range(8):
        start = now
        while lot.knock(now) is None:
            now += 1.0
        waits.append(now - start)
        lot.refuse("t", 0x97, now)
        lot.put("t", 1, 10)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_the_car_park_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking_module, "MAX_BYTES", 25)
    lot: Parking[int] = Parking(lambda item: item)
    lot.refuse("t", 0x87, 0.0)
    assert [lot.put("t", item, 10) for item in range(4)] == [True, True, False, False]
    assert lot.accept("t") == ([0, 1], True)
    assert lot.accept("other") == ([], False)


def test_of_a_retained_topic_only_the_newest_is_kept() -> None:
    lot: Parking[int] = Parking(lambda item: item)
    lot.refuse("state", 0x87, 0.0)
    for item in (2, 3, 1):
        assert lot.put("state", item, 10, alone=True)
    assert (list(lot), lot.used) == ([3], 10)


def test_a_block_that_ends_every_connection_is_cut_smaller_then_set_aside() -> None:
    suspicion, block = Suspicion(4 * SMALLEST), BlockId("9f2c61", 7)
    said = [suspicion.ended(block, suspicion.limit, 0.0) for _ in range(3 * TIMES)]
    assert [bool(text) for text in said] == [False, False, True] * 3
    assert suspicion.limit == SMALLEST
    assert suspicion.holds(block, HOLD_S - 1)
    assert not suspicion.holds(block, HOLD_S)
    assert not suspicion.holds(BlockId("9f2c61", 8), 0.0)


def test_other_ends_clear_the_suspicion() -> None:
    suspicion = Suspicion(4096)
    for number in (7, 7, 8, 7, 7):
        assert suspicion.ended(BlockId("9f2c61", number), 4096, 0.0) == ""
    assert suspicion.ended(None, 4096, 0.0) == ""
    assert suspicion.ended(BlockId("9f2c61", 7), 4096, 0.0) == ""
    assert suspicion.limit == 4096


def test_a_twin_is_certain_when_its_word_stands_there_twice() -> None:
    low, high = Twin("plant", "aaaaaa"), Twin("plant", "cccccc")
    other = b'{"state":"offline","boot":"bbbbbb"}'
    assert [low.must_wait(other), low.must_wait(other), low.must_wait(other)] == [False, True, True]
    assert [high.must_wait(other), high.must_wait(other)] == [False, False]  # the other one waits


def test_a_word_of_our_own_past_is_no_twin() -> None:
    twin = Twin("plant", "aaaaaa")
    old, own = b'{"boot":"bbbbbb"}', b'{"boot":"aaaaaa"}'
    assert [twin.must_wait(state) for state in (old, own, old, b"junk", b"[]", own, b'{"boot":"cccccc"}')] == [
        False
    ] * 7


def rows(*tags: int) -> Readings:
    column = np.array(tags, np.uint32)
    count = len(tags)
    return Readings(column, np.arange(count), np.zeros(count), np.zeros(count, np.uint8))


def test_the_layout_sorts_by_device_and_keeps_the_order_within() -> None:
    table = TagTable([Tag("a", "x"), Tag("b", "x"), Tag("a", "y")])
    layout = Layout.of(table, None)
    ordered = layout.sorted(rows(1, 0, 2, 1, 0))
    assert ordered.tag.tolist() == [0, 2, 0, 1, 1]
    assert ordered.time_ns.tolist() == [1, 2, 4, 0, 3]
    assert list(layout.runs(ordered)) == [(0, 0, 3), (1, 3, 5)]
    assert list(layout.runs(rows())) == []
    assert Layout.of(table, ["b.*"]).leaving(rows(0, 1, 2)).tag.tolist() == [1]


def test_what_a_table_means_is_derived_once() -> None:
    made: list[int] = []

    def derive(table: TagTable) -> int:
        made.append(len(table))
        return len(made)

    derived = PerTable(derive)
    tables = [TagTable([Tag("a", "x")] * (size + 1)) for size in range(20)]
    assert derived(tables[0]) == derived(tables[0]) == 1
    for table in tables:
        derived(table)
    assert len(made) == 20
