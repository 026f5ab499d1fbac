"""The columns message: its header, and what becomes of damage to it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.codec.checked import close
from gateway.codec.message import Header, pack, unpack
from gateway.errors import CodecError
from tests.unit.codec.test_codec import assert_same, block_of_everything


@pytest.mark.parametrize(
    "header",
    [
        Header("0123456789abcdef", "9f2c61", 1042),
        Header("0123456789abcdef", "9f2c61", 2**40, "welding-cell-3", "press", 0),
        Header("0123456789abcdef", "9f2c61", 0, device="prüfstand", part=300),
    ],
)
def test_a_message_carries_its_identity(header: Header) -> None:
    block = block_of_everything()
    found, rows = unpack(pack(header, block))
    assert found == header
    assert_same(rows, block)


def test_a_cut_or_flipped_message_is_noticed() -> None:
    data = pack(
        Header("0123456789abcdef", "9f2c61", 1042, "gateway", "press", 1), block_of_everything().where(slice(0, 9))
    )
    for length in range(len(data)):
        with pytest.raises(CodecError):
            unpack(data[:length])
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at % 8)
        with pytest.raises(CodecError):
            unpack(bytes(flipped))


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_damage_under_a_valid_checksum_gives_a_message_or_our_error(data: st.DataObject) -> None:
    header = Header("0123456789abcdef", "9f2c61", 1042, "gateway", "prüfstand", 1)
    body = bytearray(pack(header, block_of_everything().where(slice(0, 9)))[:-4])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, 60) | st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpack(close(bytes(body[: data.draw(st.just(len(body)) | st.integers(0, len(body)))])))
    except CodecError:
        return


@given(st.binary(max_size=120))
@settings(deadline=None, max_examples=300)
def test_any_bytes_under_a_valid_checksum_give_a_message_or_our_error(body: bytes) -> None:
    for data in (close(body), close(b"\1\7" + body)):
        try:
            unpack(data)
        except CodecError:
            continue
