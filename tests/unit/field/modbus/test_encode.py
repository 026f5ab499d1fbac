from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import WriteError
from gateway.field.modbus import encode
from gateway.field.modbus.decode import Decoder, Field
from gateway.field.modbus.layout import Order, ValueType, layout, orders, width
from gateway.field.modbus.plan import Block, Span
from gateway.field.modbus.scaling import scaling
from gateway.readings import INTEGER_LIMITS, Tag

NUMBERS: list[ValueType] = ["int16", "uint16", "int32", "uint32", "int64", "uint64", "bcd16", "bcd32"]
CASES = [(kind, order) for kind in [*NUMBERS, "float32", "float64"] for order in orders(kind)]


def back(tag: Tag, order: Order | None, data: bytes) -> float:
    """What the decoder reads in written registers."""
    kind: ValueType = tag.type  # type: ignore[assignment]
    span = Span(0, width(kind))
    field = Field(0, 3, span, layout(kind, order), scaling=scaling(tag.scale, tag.offset))
    return float(Decoder([field], [Block(3, *span, (span,))]).decode([data], [0], [0]).value[0])


@pytest.mark.parametrize(("kind", "order"), CASES)
@given(data=st.data())
def test_what_is_written_reads_back(kind: ValueType, order: Order, data: st.DataObject) -> None:
    if kind.startswith("float"):
        value = data.draw(st.floats(width=32 if kind == "float32" else 64, allow_nan=False, allow_infinity=False))
    else:
        low, high = INTEGER_LIMITS[kind]
        value = float(data.draw(st.integers(max(low, -(2**53)), min(high, 2**53))))
    tag = Tag("d", "t", kind)
    assert back(tag, order, encode.registers(tag, layout(kind, order), "utf-8", value)) == value


@given(st.integers(-32768, 32767), st.sampled_from([0.1, 0.01, 2.5, 1000.0]), st.sampled_from([0.0, -40.0, 0.5]))
def test_scaled_values_go_to_the_nearest_raw_one(raw: int, scale: float, offset: float) -> None:
    tag = Tag("d", "t", "int16", scale=scale, offset=offset)
    multiply, add, divide = scaling(scale, offset)
    value = (raw * multiply + add) / divide
    for nudge in (0.0, 0.4, -0.4):
        data = encode.registers(tag, layout("int16", None), "utf-8", value + nudge * scale)
        assert int.from_bytes(data, "big", signed=True) == raw


@pytest.mark.parametrize(
    ("kind", "value", "status"),
    [
        ("int16", 32768, "out_of_range"),
        ("uint16", -1, "out_of_range"),
        ("bcd16", 10000, "out_of_range"),
        ("float16", 1e6, "out_of_range"),
        ("float32", 1e300, "out_of_range"),
        ("int16", 1.5, "bad_type"),
        ("int16", "5", "bad_type"),
        ("float32", math.nan, "bad_type"),
        ("float32", math.inf, "bad_type"),
        ("string", 5.0, "bad_type"),
        ("string", "\N{SNOWMAN}", "bad_type"),
        ("string", "too long", "out_of_range"),
    ],
)
def test_what_does_not_fit_is_not_written(kind: ValueType, value: float | str, status: str) -> None:
    with pytest.raises(WriteError) as caught:
        encode.registers(Tag("d", "t", kind), layout(kind, None, 4), "latin-1", value)
    assert caught.value.status == status


def test_text_is_padded_and_swapped() -> None:
    tag = Tag("d", "t", "string")
    assert encode.registers(tag, layout("string", None, 6), "utf-8", "abc") == b"abc\0\0\0"
    assert encode.registers(tag, layout("string", "BA", 6), "utf-8", "abc") == b"ba\0c\0\0"


def test_parts_of_registers() -> None:
    assert encode.part(Tag("d", "t", "bool"), 3, 1.0, high=False) == encode.Bits(8, 8)
    assert encode.part(Tag("d", "t", "bool"), 3, 0.0, high=False) == encode.Bits(8, 0)
    assert encode.part(Tag("d", "t", "uint8"), None, 255.0, high=True) == encode.Bits(0xFF00, 0xFF00)
    assert encode.part(Tag("d", "t", "int8"), None, -1.0, high=False) == encode.Bits(0xFF, 0xFF)
    with pytest.raises(WriteError):
        encode.part(Tag("d", "t", "bool"), 3, 2.0, high=False)
    with pytest.raises(WriteError):
        encode.part(Tag("d", "t", "int8"), None, 128.0, high=False)
