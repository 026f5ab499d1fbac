"""The columns payload: values come back bit for bit, parts stay below the limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gateway.block import Block, BlockId
from gateway.codec.message import unpack
from gateway.readings import Readings, Tag, TagTable, text_hash
from gateway.upstream.columns import ColumnsPayload
from gateway.upstream.identity import Identity
from gateway.upstream.payload import Properties5
from tests.fakes.upstream.delivery import STAMP, START_NS, block, event_block, plant

IDENTITY = Identity("cell", "9f2c61", "1.0")


def payload(select: list[str] | None = None) -> ColumnsPayload:
    return ColumnsPayload(IDENTITY, "{gateway}/{device}", properties=Properties5(IDENTITY, enabled=True), select=select)


def rows(readings: Readings) -> set[tuple[int, int, float, int]]:
    return set(
        zip(
            readings.tag.tolist(),
            readings.time_ns.tolist(),
            readings.value.tolist(),
            readings.quality.tolist(),
            strict=True,
        )
    )


def test_what_goes_in_comes_out() -> None:
    whole = block(1042, plant(), 600)
    found: set[tuple[int, int, float, int]] = set()
    for message, device in zip(payload().messages(whole, 1 << 20), ("d0", "d1"), strict=True):
        header, readings = unpack(message.payload)
        assert message.topic == f"cell/{device}/columns"
        assert (header.gateway, header.device, header.boot, header.block) == ("cell", device, "9f2c61", 1042)
        assert (header.dictionary, header.part) == (whole.table.digest, None)
        assert message.readings == len(readings)
        found |= rows(readings)
    assert found == rows(whole.readings)


def test_parts_stay_below_the_limit_and_hold_every_reading_once() -> None:
    whole = block(7, plant(), 3000)
    whole = replace(whole, readings=replace(whole.readings, value=np.random.default_rng(1).normal(size=3000)))
    messages = payload().messages(whole, 1500)
    assert max(message.size for message in messages) <= 1500
    unpacked = [unpack(message.payload) for message in messages]
    for device in ("d0", "d1"):
        parts = [header.part for header, _ in unpacked if header.device == device]
        assert parts == list(range(len(parts)))
    assert sum(len(readings) for _, readings in unpacked) == 3000
    assert set().union(*(rows(readings) for _, readings in unpacked)) == rows(whole.readings)


def test_the_dictionary_explains_the_hash() -> None:
    whole = block(1, plant(), 6)
    message = payload().dictionary(whole)
    assert message is not None
    assert (message.topic, message.retain) == (f"cell/dictionary/{whole.table.digest}", True)
    assert TagTable.from_json(message.payload).digest == whole.table.digest
    assert payload().dictionary(event_block(1, b"{}")) is None


def test_texts_that_may_not_leave_stay() -> None:
    table = TagTable([Tag("d", "open", "string"), Tag("d", "secret", "string")])
    keys = [text_hash("hello"), text_hash("hidden")]
    readings = Readings(
        np.array([0, 1], np.uint32),
        np.full(2, START_NS, np.int64),
        np.array(keys, np.float64),
        np.zeros(2, np.uint8),
        dict(zip(keys, ("hello", "hidden"), strict=True)),
    )
    whole = Block(BlockId("9f2c61", 1), table, readings, (), STAMP, START_NS)
    (message,) = payload(["!d.secret"]).messages(whole, 65536)
    _, received = unpack(message.payload)
    assert dict(received.texts) == {keys[0]: "hello"}


def test_events_go_as_json() -> None:
    (message,) = payload().messages(event_block(1, b'{"event":"loss"}'), 65536)
    assert (message.topic, message.payload) == ("cell/events", b'{"event":"loss"}')
