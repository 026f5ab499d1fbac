from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU

from gateway.field.modbus import pdu
from gateway.field.modbus.frames import (
    MbapFrame,
    RtuExpectation,
    crc16,
    find_rtu,
    mbap_frame,
    mbap_frames,
    rtu_frame,
)
from gateway.field.modbus.framing import MOST_NOISE, Found, Late, RtuFraming
from gateway.field.modbus.pdu import DeviceError, GarbledError

REQUEST = pdu.read(3, 100, 2)
ANSWER = b"\3\4\1\2\3\4"
EXPECTED = RtuExpectation(1, 3, 6)


@given(st.binary(max_size=300))
def test_the_crc_is_the_one_of_modbus(data: bytes) -> None:
    assert crc16(data).to_bytes(2, "little") == FramerRTU.compute_CRC(data).to_bytes(2, "big")


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 255), st.binary(min_size=1, max_size=253))), st.data())
def test_tcp_frames_come_out_whole_however_they_are_cut(
    frames: list[tuple[int, int, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(mbap_frame(*frame) for frame in frames)
    buffer, found, at = bytearray(), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, 300))
        buffer += stream[at : at + size]
        at += size
        found += list(mbap_frames(buffer))
    assert found == [MbapFrame(*frame) for frame in frames]
    assert not buffer


@pytest.mark.parametrize("header", ["0001 0001 0006 01", "0001 0000 0000 01", "0001 0000 0001 01", "0001 0000 00ff 01"])
def test_a_stream_that_is_no_modbus_is_garbled(header: str) -> None:
    with pytest.raises(GarbledError):
        list(mbap_frames(bytearray(bytes.fromhex(header))))


@given(st.binary(max_size=20))
def test_the_answer_is_found_behind_noise(noise: bytes) -> None:
    with suppress(GarbledError):
        assert find_rtu(noise + rtu_frame(1, ANSWER), EXPECTED) in {ANSWER, None}


@pytest.mark.parametrize("noise", [b"\0", b"\xff", b"\3", b"\1", b"\1\3", rtu_frame(9, b"\3\2\0\0"), b"\0\0\0"])
def test_usual_noise_costs_nothing(noise: bytes) -> None:
    assert find_rtu(noise + rtu_frame(1, ANSWER), EXPECTED) == ANSWER


def test_an_echo_of_the_request_is_passed_over() -> None:
    for start in (100, 0x0300, 0x0304):
        request = rtu_frame(1, pdu.read(3, start, 2))
        expected = RtuExpectation(1, 3, 6, request)
        assert find_rtu(request, expected) is None
        assert find_rtu(request + rtu_frame(1, ANSWER), expected) == ANSWER


def test_a_frame_is_awaited_to_its_end() -> None:
    frame = rtu_frame(1, ANSWER)
    for size in range(len(frame)):
        assert find_rtu(frame[:size], EXPECTED) is None
    assert find_rtu(frame, EXPECTED) == ANSWER
    assert find_rtu(rtu_frame(1, b"\x83\2"), EXPECTED) == b"\x83\2"


@pytest.mark.parametrize(
    "frame", [rtu_frame(1, b"\3\2\1\2"), rtu_frame(1, b"\4\4\1\2\3\4"), rtu_frame(1, ANSWER)[:-1] + b"\0"]
)
def test_another_answer_of_the_asked_unit_is_garbled(frame: bytes) -> None:
    with pytest.raises(GarbledError):
        find_rtu(frame, EXPECTED)


def fed(framing: RtuFraming, *data: bytes) -> Found | Late | None:
    """The last outcome."""
    outcome: Found | Late | None = None
    for each in data:
        outcome = framing.received(each)
    return outcome


def test_rtu_late_answers_are_recognised_while_nothing_is_awaited() -> None:
    framing = RtuFraming()
    assert framing.received(b"\1\2\3") is None
    framing.sent(1, REQUEST, rtu_frame(1, REQUEST))
    framing.give_up()
    frame = rtu_frame(1, ANSWER)
    assert fed(framing, frame[:4], frame[4:]) == Late(frame)
    assert framing.received(frame) is None


@given(st.lists(st.binary(max_size=400), max_size=20), st.booleans())
def test_foreign_bytes_never_raise_anything_else_and_never_pile_up(chunks: list[bytes], waiting: bool) -> None:
    framing = RtuFraming()
    framing.sent(1, REQUEST, rtu_frame(1, REQUEST))
    if not waiting:
        framing.give_up()
    for chunk in chunks:
        with suppress(GarbledError):
            framing.received(chunk)
            assert len(framing._buffer) <= MOST_NOISE


@given(st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16, 22]), st.integers(0, 65535), st.binary(max_size=260))
def test_any_answer_gives_data_of_the_right_length_or_the_documented_errors(
    function: int, start: int, answer: bytes
) -> None:
    request = struct.pack(">BHH", function, start, 3) + b"\0\0"
    try:
        data = pdu.payload(request, answer)
    except (GarbledError, DeviceError):
        return
    assert len(data) == {1: 1, 2: 1, 3: 6, 4: 6}.get(function, 0)


def test_exceptions_say_their_name() -> None:
    with pytest.raises(DeviceError, match="illegal data address") as caught:
        pdu.payload(REQUEST, b"\x83\2")
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("request_", "frame"),
    [
        (pdu.read(3, 0x006B, 3), "03 006b 0003"),
        (pdu.write_coil(0x00AC, True), "05 00ac ff00"),
        (pdu.write_coil(0x00AC, False), "05 00ac 0000"),
        (pdu.write_register(1, 3), "06 0001 0003"),
        (pdu.write_coils(0x13, [bool(int(bit)) for bit in "1011001110"]), "0f 0013 000a 02 cd01"),
        (pdu.write_registers(1, b"\0\x0a\1\2"), "10 0001 0002 04 000a 0102"),
        (pdu.mask_register(4, 0xF2, 0x25), "16 0004 00f2 0025"),
    ],
)
def test_requests_are_those_of_the_specification(request_: bytes, frame: str) -> None:
    assert request_ == bytes.fromhex(frame)


def test_a_write_must_be_echoed() -> None:
    request = pdu.write_registers(1, b"\0\x0a\1\2")
    assert pdu.payload(request, request[:5]) == b""
    with pytest.raises(GarbledError):
        pdu.payload(request, b"\x10\0\2\0\2")
