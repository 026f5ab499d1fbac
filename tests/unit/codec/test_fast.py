"""The compiled decoder against the plain one: the same readings, or the same error, whatever the bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.codec import decode, encode, fast
from gateway.codec.checked import close
from gateway.codec.encoder import encode as encode_body
from gateway.codec.layout import NULLS, QUALITY, REALS, TEXTS, VERSION
from gateway.errors import CodecError
from gateway.readings import NO_TEXTS, Readings, ValueColumn, text_hash

START = 1_732_258_800_123_456_000
MANY = settings(deadline=None, max_examples=600, suppress_health_check=list(HealthCheck))


def mixed(rows: int, seed: int = 3) -> Readings:
    """Every kind of value, quality and order of times."""
    rng = np.random.default_rng(seed)
    tag = np.sort(rng.integers(0, 8, rows)).astype(np.uint32)
    value: ValueColumn = np.round(rng.normal(size=rows) * 50, 1)
    texts = {text_hash(text): text for text in ("run", "stop")}
    value[tag == 0] = rng.normal(size=int((tag == 0).sum()))
    value[tag == 1] = np.float32(1 / 3)
    value[tag == 2] = float(max(texts))
    value[tag == 3] = np.nan
    value[tag == 5] = np.arange(int((tag == 5).sum())) * 0.1
    time_ns = START + rng.integers(0, max(2, rows // 3), rows) * 500_000_000
    return Readings(tag, time_ns, value, ((tag == 3) * 129).astype(np.uint8), texts)


def plain(rows: int) -> Readings:
    """Numbers alone, each tag at the times of the one before."""
    tag = np.repeat(np.arange((rows + 4) // 5, dtype=np.uint32), 5)[:rows]
    time_ns = START + np.arange(rows, dtype=np.int64) % 5 * 1_000_000
    return Readings(tag, time_ns, np.arange(rows) % 7 / 4, np.zeros(rows, np.uint8), NO_TEXTS)


BLOCKS = [encode_body(block) for block in (mixed(12), mixed(25, 4), mixed(300), plain(25), plain(40), plain(400))]


def outcome(decoder: Callable[[bytes], Readings], data: bytes) -> object:
    """Readings as bytes, or the error's text."""
    try:
        found = decoder(data)
    except CodecError as error:
        return str(error)
    columns = found.tag, found.time_ns, found.value, found.quality
    return [(column.dtype, column.tobytes()) for column in columns], list(found.texts.items())


@pytest.mark.parametrize(
    "block", [mixed(0), mixed(1), mixed(2), mixed(12), mixed(25, 4), plain(1), plain(25), plain(40)]
)
def test_small_blocks_are_read_by_the_kernel(block: Readings) -> None:
    data = encode(block, b"head")
    quick = fast._quick(data[:-4], 5)
    assert quick is not None
    assert outcome(lambda _: quick, data) == outcome(lambda whole: decode(whole, 4), data)
    assert outcome(lambda whole: fast.decode(whole, 4), data) == outcome(lambda whole: decode(whole, 4), data)


def test_the_sample_blocks_hold_every_kind_of_content() -> None:
    flags = np.bitwise_or.reduce([body[1] for body in BLOCKS])
    assert flags & (NULLS | QUALITY | TEXTS | REALS) == NULLS | QUALITY | TEXTS | REALS


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 2**64 - 1), st.integers(0, 255))))
@MANY
def test_any_block_is_the_same_by_both(rows: list[tuple[int, int, int, int]]) -> None:
    tag, tick, bits, quality = (np.array([row[column] for row in rows], np.uint64) for column in range(4))
    time_ns = START + tick.astype(np.int64) * 1000
    block = Readings(tag.astype(np.uint32), time_ns, bits.view(np.float64), quality.astype(np.uint8))
    data = encode(block)
    assert outcome(fast.decode, data) == outcome(decode, data)


@given(st.data())
@MANY
def test_damage_under_a_valid_checksum_is_the_same_by_both(data: st.DataObject) -> None:
    body = bytearray(data.draw(st.sampled_from(BLOCKS)))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(1, min(len(body) - 1, 60)) | st.integers(1, len(body) - 1))] = data.draw(
            st.integers(0, 255)
        )
    damaged = close(bytes(body[: data.draw(st.just(len(body)) | st.integers(2, len(body)))]))
    assert outcome(fast.decode, damaged) == outcome(decode, damaged)


@given(st.binary(max_size=200))
@MANY
def test_any_bytes_under_a_valid_checksum_are_the_same_by_both(body: bytes) -> None:
    data = close(bytes([VERSION]) + body)
    assert outcome(fast.decode, data) == outcome(decode, data)


def test_every_flipped_byte_and_every_cut_is_the_same_by_both() -> None:
    for body in BLOCKS[:4]:
        for at in range(1, len(body)):
            for other in (0, 1, 0x7F, 0x80, 0xFF, body[at] ^ 1, body[at] ^ 2):
                data = close(body[:at] + bytes([other]) + body[at + 1 :])
                assert outcome(fast.decode, data) == outcome(decode, data)
            assert outcome(fast.decode, close(body[:at])) == outcome(decode, close(body[:at]))


BOUNDS = """
import sys
import numpy as np
from gateway.codec import decoder, fast
from gateway.errors import CodecError
rng = np.random.default_rng(int(sys.argv[1]))
read = 0
with np.errstate(all="ignore"):
    for line in sys.stdin:
        body = bytes.fromhex(line)
        for turn in range(150):
            damaged = bytearray(body)
            for at in rng.integers(1, len(body), turn % 4):
                damaged[at] = rng.integers(0, 256)
            try:
                found = fast._quick(bytes(damaged), 1)
            except CodecError:
                continue
            assert found is not None or turn % 4
            if found is not None:
                read += 1
                plain = decoder.decode(bytes(damaged), 1)
                assert found.value.tobytes() == plain.value.tobytes()
                assert found.time_ns.tobytes() == plain.time_ns.tobytes()
print(read)
"""


def test_the_kernel_reads_and_writes_nothing_out_of_bounds() -> None:
    """As a plain function an index beyond the end raises IndexError, which compiled code would not notice."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    blocks = "".join(f"{body.hex()}\n" for body in (BLOCKS[0], BLOCKS[1], BLOCKS[3], BLOCKS[4]))
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BOUNDS, "7"],
        input=blocks,
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 50
