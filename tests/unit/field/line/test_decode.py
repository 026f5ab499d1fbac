from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.field.line.decode import LineDecoder, checksum_of, crc16_modbus, number, sealed, unsealed
from gateway.field.line.settings import Checksum, LineDevice, LineTag
from gateway.readings import Quality, text_hash

KINDS = st.sampled_from(get_args(Checksum))


def device(**keys: Any) -> LineDevice:
    return LineDevice.model_validate({"pattern": r"(?P<a>.*),(?P<b>.*)", "tags": {"x": {"field": "a"}}, **keys})


def test_checksums_agree_with_figures_from_elsewhere() -> None:
    assert crc16_modbus(b"123456789") == 0x4B37  # the catalogue's check value
    assert crc16_modbus(bytes.fromhex("010300000001")) == 0x0A84  # sent low byte first: 84 0A
    assert checksum_of("sum8", b"\xff\x02") == 0x01
    assert checksum_of("xor", b"ABC") == 0x40
    nmea = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"
    assert checksum_of("nmea", nmea) == 0x47


@given(KINDS, st.binary(max_size=60))
def test_what_is_sealed_can_be_unsealed(kind: Checksum, body: bytes) -> None:
    assert unsealed(kind, sealed(kind, body)) == body


@given(st.sampled_from(["xor", "sum8", "crc16-modbus", "nmea"]), st.binary(min_size=1, max_size=40), st.data())
def test_one_flipped_bit_is_noticed(kind: Checksum, body: bytes, data: st.DataObject) -> None:
    line = bytearray(sealed(kind, body))
    position = data.draw(st.integers(1 if kind == "nmea" else 0, len(body) - 1), "position") if len(body) > 1 else 0
    if kind == "nmea" and (position == 0 or body.startswith(b"$")):
        return  # the dollar is outside the sum
    line[position] ^= 1 << data.draw(st.integers(0, 7), "bit")
    if kind == "nmea" and bytes(line).startswith(b"$"):
        return
    assert unsealed(kind, bytes(line)) is None


@given(KINDS, st.binary(max_size=300))
def test_no_bytes_make_the_decoder_raise(kind: Checksum, line: bytes) -> None:
    tags = {"x": {"field": "a"}, "y": {"field": "b", "type": "string"}, "z": {"field": "b", "type": "bool"}}
    fields = LineDecoder(device(checksum=kind, tags=tags)).decode(line)
    if fields is not None:
        assert len(fields.raw) == len(fields.quality) == 3


@pytest.mark.parametrize(
    ("text", "keys", "value"),
    [
        ("+12.50", {}, 12.5),
        ("- 12.5", {}, -12.5),
        ("1e3", {}, 1000.0),
        ("1.234,5", {"decimal": ","}, 1234.5),
        ("ON", {"type": "bool"}, 1.0),
        ("0", {"type": "bool"}, 0.0),
        ("perhaps", {"type": "bool"}, math.nan),
        ("1_000", {}, math.nan),
        ("١٢", {}, math.nan),
        ("", {}, math.nan),
    ],
)
def test_numbers(text: str, keys: dict[str, Any], value: float) -> None:
    got = number(text, LineTag.model_validate({"field": "a", **keys}))
    assert got == value or (math.isnan(got) and math.isnan(value))


def test_a_text_is_its_hash_and_the_string_travels_beside() -> None:
    decoder = LineDecoder(device(tags={"x": {"field": "a", "type": "string"}}))
    fields = decoder.decode(b" ST\xb0 ,1")
    assert fields is not None
    assert fields.texts == {text_hash("ST°"): "ST°"}
    assert fields.raw[0] == text_hash("ST°")


def test_a_group_that_took_no_part_is_bad_decode() -> None:
    decoder = LineDecoder(device(pattern=r"(?P<a>\d+)|(?P<b>x)", tags={"x": {"field": "a"}, "y": {"field": "b"}}))
    fields = decoder.decode(b"7")
    assert fields is not None
    assert fields.quality.tolist() == [0, Quality.BAD_DECODE]


def test_the_pattern_must_fit_the_whole_line() -> None:
    decoder = LineDecoder(device(pattern=r"(?P<a>\d+)"))
    assert decoder.decode(b"12") is not None
    assert decoder.decode(b"12 ") is None
    assert decoder.decode(b"12\n") is None
