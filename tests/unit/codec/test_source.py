from __future__ import annotations

import struct

import pytest
import zstandard

from gateway.codec.source import inflated
from gateway.errors import CodecError

PLAIN = b"abc" * 500


def test_a_frame_comes_back() -> None:
    assert inflated(zstandard.ZstdCompressor().compress(PLAIN), len(PLAIN)) == PLAIN


@pytest.mark.parametrize("claim", [0, len(PLAIN) + 1, 1 << 40, (1 << 62) + 5])
def test_a_frame_that_claims_another_size_is_refused_before_memory_is_taken(claim: int) -> None:
    # magic, descriptor: content size of 8 bytes, no checksum, no dictionary; window; size; an empty last block
    frame = struct.pack("<IBBQ", 0xFD2FB528, 0b1100_0000, 0, claim) + b"\x01\x00\x00"
    with pytest.raises(CodecError, match="as long as it says"):
        inflated(frame, len(PLAIN))


@pytest.mark.parametrize("packed", [b"", b"\x28\xb5\x2f\xfd", b"no frame at all"])
def test_no_frame_is_our_error(packed: bytes) -> None:
    with pytest.raises(CodecError):
        inflated(packed, 10)
