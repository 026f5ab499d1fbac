from __future__ import annotations

import math
import random
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.field.modbus.decode import Decoder, Field
from gateway.field.modbus.layout import Layout, Order, ValueType, layout, orders, width
from gateway.field.modbus.plan import Block, Limits, Span, plan
from gateway.field.modbus.scaling import scaling
from gateway.readings import Quality, Readings, text_hash

STRUCT = {
    "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "uint64": ">Q",
    "float16": ">e", "float32": ">f", "float64": ">d",
}  # fmt: skip
ORDERED = [(kind, order) for kind in STRUCT for order in orders(kind)]  # type: ignore[arg-type]


def letters(order: str) -> list[int]:
    """Where each byte on the wire stands in the value: ABCD -> 0 1 2 3."""
    return [ord(letter) - ord("A") for letter in order]


def reference(kind: str, order: str, data: bytes) -> float:
    """The value by the letters of its order, through struct."""
    value = bytearray(len(data))
    for wire, place in enumerate(letters(order)):
        value[place] = data[wire]
    return float(struct.unpack(STRUCT[kind], value)[0])


def field(kind: ValueType, start: int = 0, order: Order | None = None, **keys: Any) -> Field:
    length = keys.pop("length", None)
    return Field(0, 3, Span(start, start + width(kind, length)), layout(kind, order, length), **keys)


def single(wanted: Field, data: bytes, function: int = 3) -> Readings:
    block = Block(function, wanted.span.start, wanted.span.stop, (wanted.span,))
    return Decoder([wanted], [block]).decode([data], [1_000_000], [0])


@pytest.mark.parametrize(("kind", "order"), ORDERED)
@given(data=st.data())
@settings(max_examples=60)
def test_numbers_are_what_struct_says(kind: ValueType, order: Order, data: st.DataObject) -> None:
    size = 2 * width(kind)
    raw = data.draw(st.binary(min_size=size, max_size=size))
    expected = reference(kind, order, raw)
    readings = single(field(kind, order=order), raw)
    if math.isfinite(expected):
        assert readings.value[0] == expected
        precise = kind not in {"int64", "uint64"} or abs(expected) <= 2**53
        assert readings.quality[0] == (Quality.GOOD if precise else Quality.UNCERTAIN_PRECISION)
    else:
        assert math.isnan(readings.value[0])
        assert readings.quality[0] == Quality.BAD_DECODE


@pytest.mark.parametrize(
    ("order", "wire"),
    [("ABCD", "41 ac 00 00"), ("CDAB", "00 00 41 ac"), ("BADC", "ac 41 00 00"), ("DCBA", "00 00 ac 41")],
)
def test_the_four_orders_of_32_bits(order: Order, wire: str) -> None:
    assert single(field("float32", order=order), bytes.fromhex(wire)).value[0] == 21.5


@pytest.mark.parametrize(
    ("order", "wire"),
    [
        ("ABCDEFGH", "01 02 03 04 05 06 07 08"),
        ("GHEFCDAB", "07 08 05 06 03 04 01 02"),
        ("BADCFEHG", "02 01 04 03 06 05 08 07"),
        ("HGFEDCBA", "08 07 06 05 04 03 02 01"),
    ],
)
def test_the_four_orders_of_64_bits(order: Order, wire: str) -> None:
    assert single(field("uint64", order=order), bytes.fromhex(wire)).value[0] == float(0x0102030405060708)


@given(st.integers(0, 0xFFFF))
def test_parts_of_a_register(word: int) -> None:
    data = word.to_bytes(2, "big")
    for bit in range(16):
        assert single(field("bool", bit=bit), data).value[0] == word >> bit & 1
    assert single(field("uint8"), data).value[0] == word & 0xFF
    assert single(field("uint8", high=True), data).value[0] == word >> 8
    assert single(field("int8"), data).value[0] == struct.unpack("b", data[1:])[0]
    assert single(field("int8", high=True), data).value[0] == struct.unpack("b", data[:1])[0]


@given(st.integers(0, 0xFFFF_FFFF))
def test_binary_coded_decimals(raw: int) -> None:
    for kind, text in (("bcd32", f"{raw:08x}"), ("bcd16", f"{raw & 0xFFFF:04x}")):
        readings = single(field(kind), bytes.fromhex(text))  # type: ignore[arg-type]
        if text.isdecimal():
            assert readings.value[0] == int(text)
            assert readings.quality[0] == Quality.GOOD
        else:
            assert math.isnan(readings.value[0])
            assert readings.quality[0] == Quality.BAD_DECODE


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_coils_come_least_significant_bit_first(bits: list[bool]) -> None:
    packed = sum(bit << place for place, bit in enumerate(bits)).to_bytes(len(bits) + 7 >> 3, "little")
    fields = [Field(place, 1, Span(place, place + 1), Layout("bool", 1)) for place in range(len(bits))]
    block = Block.of(1, [each.span for each in fields])
    assert Decoder(fields, [block]).decode([packed], [0], [0]).value.tolist() == bits


@pytest.mark.parametrize(
    ("data", "order", "encoding", "length", "text"),
    [
        (b"LOT-4711\0\0", None, "utf-8", 10, "LOT-4711"),
        (b"OL-T7417", "BA", "utf-8", 8, "LOT-4771"),
        ("Prüf".encode(), None, "utf-8", 5, "Prüf"),
        ("Prüf".encode("latin-1"), None, "latin-1", 4, "Prüf"),
        (b"abcd", None, "utf-8", 3, "abc"),
        (b"\0\0", None, "utf-8", 2, ""),
    ],
)
def test_text(data: bytes, order: Order | None, encoding: str, length: int, text: str) -> None:
    padded = data.ljust(2 * width("string", length), b"\0")
    readings = single(field("string", order=order, encoding=encoding, length=length), padded)
    assert readings.texts == {text_hash(text): text}
    assert readings.value[0] == text_hash(text)


def test_bytes_that_are_no_text_are_bad() -> None:
    decoder = Decoder([field("string", length=2)], [Block.of(3, [Span(0, 1)])])
    bad = decoder.decode([b"\xff\xfe"], [0], [0])
    assert bad.quality[0] == Quality.BAD_DECODE
    assert bad.texts == {}
    assert decoder.decode([b"ok"], [0], [0]).texts == {text_hash("ok"): "ok"}


@given(st.binary(min_size=6, max_size=6), st.sampled_from(["utf-8", "latin-1"]), st.integers(1, 6))
def test_any_bytes_are_text_or_bad(data: bytes, encoding: str, length: int) -> None:
    registers = data[: 2 * width("string", length)]
    readings = single(field("string", length=length, encoding=encoding), registers)
    if readings.quality[0] == Quality.GOOD:
        [text] = readings.texts.values()
        assert text == registers[:length].decode(encoding).rstrip("\0 \t")
        assert readings.value[0] == text_hash(text)
    else:
        assert readings.quality[0] == Quality.BAD_DECODE
        assert readings.texts == {}


def test_the_range_keeps_the_value() -> None:
    fields = [
        Field(place, 3, Span(place, place + 1), Layout("int16", 1), low=-40.0, top=40.0, scaling=scaling(0.1, 0.0))
        for place in range(3)
    ]
    data = struct.pack(">3h", 400, 401, -401)
    readings = Decoder(fields, [Block.of(3, [each.span for each in fields])]).decode([data], [0], [0])
    assert readings.value.tolist() == [40.0, 40.1, -40.1]
    assert readings.quality.tolist() == [Quality.GOOD, Quality.BAD_RANGE, Quality.BAD_RANGE]


def test_a_failed_block_leaves_the_others_alone() -> None:
    fields = [Field(place, 3, Span(place, place + 1), Layout("uint16", 1)) for place in (0, 10)]
    fields.append(Field(7, 1, Span(3, 4), Layout("bool", 1)))
    blocks = [Block.of(each.function, [each.span]) for each in fields]
    decoder = Decoder(fields, blocks)
    readings = decoder.decode([None, b"\0\5", b"\1"], [10, 20, 30], [Quality.BAD_TIMEOUT, 0, 0])
    columns = (readings.tag, readings.value, readings.quality, readings.time_ns)
    rows = {tag: rest for tag, *rest in zip(*(column.tolist() for column in columns), strict=True)}
    assert math.isnan(rows[0][0])
    assert rows[0][1:] == [Quality.BAD_TIMEOUT, 10]
    assert rows[10] == [5.0, Quality.GOOD, 20]
    assert rows[7] == [1.0, Quality.GOOD, 30]


def test_fields_without_a_block_are_absent() -> None:
    fields = [Field(place, 3, Span(place, place + 1), Layout("uint16", 1)) for place in (0, 10)]
    decoder = Decoder(fields, [Block.of(3, [Span(0, 1)])])
    assert decoder.absent.tolist() == [10]
    assert decoder.decode([b"\0\1"], [0], [0]).tag.tolist() == [0]


MIXED = st.lists(
    st.tuples(st.sampled_from([*ORDERED, ("uint8", "AB"), ("bcd16", "AB")]), st.integers(0, 300)),
    min_size=1,
    max_size=40,
)


@given(MIXED, st.integers(0, 10), st.binary(min_size=8, max_size=8))
@settings(max_examples=40)
def test_a_whole_device_decodes_as_value_by_value(
    wanted: list[tuple[tuple[ValueType, Order], int]], gap: int, seed: bytes
) -> None:
    memory = random.Random(seed).randbytes(700)
    fields = [
        Field(tag, 3, Span(start, start + width(kind)), layout(kind, order))
        for tag, ((kind, order), start) in enumerate(wanted)
    ]
    blocks = plan(3, [each.span for each in fields], Limits(125, gap))
    payloads = [memory[2 * block.start : 2 * block.stop] for block in blocks]
    together = Decoder(fields, blocks).decode(payloads, [0] * len(blocks), [0] * len(blocks))
    assert sorted(together.tag.tolist()) == list(range(len(fields)))
    for tag, value, quality in zip(together.tag.tolist(), together.value, together.quality, strict=True):
        each = fields[tag]
        alone = single(each, memory[2 * each.span.start : 2 * each.span.stop])
        np.testing.assert_equal(value, alone.value[0])
        assert quality == alone.quality[0]


def test_columns_have_their_types() -> None:
    readings = single(field("uint16"), b"\0\1")
    assert [str(column.dtype) for column in (readings.tag, readings.time_ns, readings.value, readings.quality)] == [
        "uint32", "int64", "float64", "uint8",
    ]  # fmt: skip
