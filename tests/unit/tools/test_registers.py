from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tools.simulation.modbus import answer_rtu, answer_tcp, crc16, sealed
from gateway.tools.simulation.registers import Image, ranges, refusal, to_words


def test_reads_what_was_put() -> None:
    image = Image()
    image.put("holding", 10, [1, 0xFFFE])
    assert image.answer(struct.pack(">BHH", 3, 10, 2)) == bytes.fromhex("03040001fffe")


def test_coils_are_packed_low_bit_first() -> None:
    image = Image()
    image.put("coil", 0, [1, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    assert image.answer(struct.pack(">BHH", 1, 0, 10)) == bytes.fromhex("01020102")


def test_put_bit_keeps_the_other_bits() -> None:
    image = Image()
    image.put("holding", 5, [0b1001])
    image.put_bit("holding", 5, 1, value=True)
    image.put_bit("holding", 5, 3, value=False)
    assert image.get("holding", 5) == [0b0011]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (struct.pack(">BHH", 3, 9, 2), 2),  # the first of both is not there
        (struct.pack(">BHH", 3, 65535, 2), 2),
        (struct.pack(">BHH", 3, 10, 0), 3),
        (struct.pack(">BHH", 3, 10, 126), 3),
        (struct.pack(">BHH", 6, 10, 1), 2),  # not writable
        (struct.pack(">BHH", 5, 10, 1), 3),
        (struct.pack(">BHHB", 16, 10, 1, 4), 3),
        (bytes((43, 14, 1, 0)), 1),
        (bytes((3, 0)), 3),
    ],
)
def test_refuses_as_the_standard_says(request_: bytes, code: int) -> None:
    image = Image()
    image.put("holding", 10, [1])
    assert image.answer(request_) == refusal(request_[0], code)


def test_writes_where_writable_and_tells_so() -> None:
    seen: list[tuple[str, int, int]] = []
    image = Image(written=lambda table, address, count: seen.append((table, address, count)))
    image.put("holding", 0, [0, 0], writable=True)
    image.put("coil", 0, [0] * 9, writable=True)
    request = struct.pack(">BHHBHH", 16, 0, 2, 4, 7, 8)
    assert image.answer(request) == request[:5]
    assert image.answer(struct.pack(">BHH", 6, 0, 9)) == struct.pack(">BHH", 6, 0, 9)
    assert image.answer(struct.pack(">BHH", 5, 1, 0xFF00)) == struct.pack(">BHH", 5, 1, 0xFF00)
    assert image.answer(struct.pack(">BHHB2s", 15, 0, 9, 2, b"\x05\x01")) == struct.pack(">BHH", 15, 0, 9)
    assert image.get("holding", 0, 2) == [9, 8]
    assert image.get("coil", 0, 9) == [1, 0, 1, 0, 0, 0, 0, 0, 1]
    assert seen == [("holding", 0, 2), ("holding", 0, 1), ("coil", 1, 1), ("coil", 0, 9)]


@given(st.floats(width=32, allow_nan=False))
def test_orders_permute_the_bytes(value: float) -> None:
    big = struct.pack(">f", value)
    for order, places in {
        "ABCD": (0, 1, 2, 3),
        "CDAB": (2, 3, 0, 1),
        "BADC": (1, 0, 3, 2),
        "DCBA": (3, 2, 1, 0),
    }.items():
        assert struct.pack(">2H", *to_words(value, "float32", order)) == bytes(big[place] for place in places)


@pytest.mark.parametrize(
    ("value", "type_", "order", "words"),
    [
        (-2, "int16", "", [0xFFFE]),
        (1, "uint16", "BA", [0x0100]),
        (1234, "bcd16", "", [0x1234]),
        (12345678, "bcd32", "CDAB", [0x5678, 0x1234]),
        (-1, "int8", "", [0x00FF]),
        (1, "uint64", "GHEFCDAB", [1, 0, 0, 0]),
        (1.0, "float16", "", [0x3C00]),
    ],
)
def test_words_of_each_type(value: float, type_: str, order: str, words: list[int]) -> None:
    assert to_words(value, type_, order) == words


def test_text_is_padded_and_swapped() -> None:
    assert to_words("ABC", "string", length=4) == [0x4142, 0x4300]
    assert to_words("ABC", "string", "BA", length=4) == [0x4241, 0x0043]
    assert to_words("ABCDEF", "string", length=3) == [0x4142, 0x4300]


def test_ranges_of_defined_places() -> None:
    defined = np.zeros(10, np.bool_)
    assert ranges(defined) == []
    defined[[0, 1, 4, 9]] = True
    assert ranges(defined) == [(0, 1), (4, 4), (9, 9)]


def test_crc_of_the_standards_example() -> None:
    assert sealed(bytes.fromhex("0207")) == bytes.fromhex("02074112")
    assert crc16(sealed(b"anything")) == 0


def test_rtu_skips_noise_and_keeps_absent_units_silent() -> None:
    image = Image()
    image.put("input", 0, [7])
    ask = sealed(struct.pack(">BBHH", 1, 4, 0, 1))
    buffer = bytearray(b"\x00\xff" + ask + sealed(struct.pack(">BBHH", 2, 4, 0, 1)) + ask[:3])
    assert answer_rtu({1: image}, buffer) == sealed(bytes.fromhex("01040200 07"))
    assert buffer == ask[:3]


def test_tcp_answers_each_request_and_waits_for_the_rest() -> None:
    image = Image()
    image.put("holding", 0, [5])
    ask = struct.pack(">HHHBBHH", 77, 0, 6, 1, 3, 0, 1)
    stranger = struct.pack(">HHHBBHH", 78, 0, 6, 9, 3, 0, 1)
    buffer = bytearray(ask + stranger + ask[:7])
    answer = answer_tcp({1: image}, buffer)
    assert answer == bytes.fromhex("004d0000000501 03020005") + bytes.fromhex("004e0000000309 830b")
    assert buffer == ask[:7]


def test_tcp_refuses_what_is_no_modbus() -> None:
    with pytest.raises(ValueError, match="Modbus"):
        answer_tcp({}, bytearray(b"GET / HTTP/1.1\r\n"))
