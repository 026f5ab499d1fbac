from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.codec import decode, decode_quickly, encode, reading, runs, streams
from gateway.codec.checked import close
from gateway.codec.encoder import encode as encode_body
from gateway.codec.layout import MAX_ROWS, VERSION
from gateway.codec.warm import warm
from gateway.errors import CodecError
from gateway.readings import NO_TEXTS, Readings, text_hash

START = 1_732_258_800_123_456_000
QUICK = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


def readings(
    tag: object, time_ns: object, value: object, quality: object = None, texts: dict[int, str] | None = None
) -> Readings:
    column = np.asarray(tag, np.uint32)
    codes = np.zeros(len(column), np.uint8) if quality is None else np.asarray(quality, np.uint8)
    return Readings(column, np.asarray(time_ns, np.int64), np.asarray(value, np.float64), codes, texts or NO_TEXTS)


def assert_same(found: Readings, given_: Readings) -> None:
    """Bit for bit, rows sorted by tag, each tag's in their old order."""
    wanted = given_.where(np.argsort(given_.tag, kind="stable"))
    assert found.tag.dtype == np.uint32
    assert found.time_ns.dtype == np.int64
    assert found.value.dtype == np.float64
    assert found.quality.dtype == np.uint8
    np.testing.assert_array_equal(found.tag, wanted.tag)
    np.testing.assert_array_equal(found.time_ns, wanted.time_ns)
    np.testing.assert_array_equal(found.value.view(np.int64), wanted.value.view(np.int64))
    np.testing.assert_array_equal(found.quality, wanted.quality)
    assert dict(found.texts) == dict(wanted.texts)


VALUES = st.one_of(
    st.floats(width=64),
    st.floats(width=32),
    st.integers(-(2**53), 2**53).map(float),
    st.integers(-99999, 99999).map(lambda number: number / 100),
    st.sampled_from([0.0, -0.0, float("inf"), float("nan"), 5e-324, 1.7976931348623157e308, 9007199254740993.0]),
)
TIMES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 50).map(lambda tick: START + tick * 500_000_000),
    st.integers(0, 10**6).map(lambda tick: START + tick * 1000),
)
ROWS = st.lists(
    st.tuples(st.integers(0, 12) | st.integers(0, 2**32 - 1), TIMES, VALUES, st.integers(0, 255)), max_size=60
)


@given(ROWS)
@QUICK
def test_any_rows_come_back_bit_for_bit(rows: list[tuple[int, int, float, int]]) -> None:
    tag, time_ns, value, quality = ([row[column] for row in rows] for column in range(4))
    block = readings(tag, time_ns, value, quality)
    assert_same(decode(encode(block)), block)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(1, 3))
@QUICK
def test_any_bit_pattern_of_a_value_comes_back(patterns: list[int], tags: int) -> None:
    value = np.array(patterns, np.uint64).view(np.float64)
    block = readings(np.arange(len(value)) % tags, np.full(len(value), START), value)
    assert_same(decode(encode(block)), block)


@given(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=12), st.booleans()), max_size=30))
@QUICK
def test_texts_come_back(rows: list[tuple[int, str, bool]]) -> None:
    texts = {text_hash(text): text for _, text, _ in rows}
    value = [float(text_hash(text)) if known else 12.5 for _, text, known in rows]
    block = readings([tag for tag, _, _ in rows], [START] * len(rows), value, None, texts)
    assert_same(decode(encode(block)), block)


def test_a_key_that_is_not_the_text_s_hash_comes_back() -> None:
    block = readings([1, 1], [START, START], [77.0, 5.0], None, {77: "seventy-seven", 0: "\ud800"})
    assert_same(decode(encode(block)), block)


def test_text_values_cost_next_to_nothing() -> None:
    texts = {text_hash(word): word for word in ("run", "stop")}
    keys = sorted(texts)
    block = readings([4] * 100, START + np.arange(100) * 10**9, [float(keys[at % 2]) for at in range(100)], None, texts)
    assert len(encode(block)) < 120


@pytest.mark.parametrize("rows", [0, 1, 2, 15, 16, 17, 33])
def test_small_blocks(rows: int) -> None:
    block = readings(np.arange(rows), START + np.arange(rows), np.arange(rows) * 0.1)
    assert_same(decode(encode(block)), block)


def test_a_regular_grid_costs_next_to_nothing() -> None:
    count = 3200
    block = readings(np.tile(np.arange(400), 8), START + np.repeat(np.arange(160), 20) * 25_000_000, np.zeros(count))
    assert len(encode(block)) < 200


def test_a_counter_costs_next_to_nothing() -> None:
    block = readings([7] * 5000, START + np.arange(5000) * 10**9, 100.0 + 3.0 * np.arange(5000))
    assert_same(decode(encode(block)), block)
    assert len(encode(block)) < 100


def test_decimals_that_lose_a_bit_are_kept_as_floats() -> None:
    value = np.arange(1, 200) * 0.1  # raw * 0.1 is not raw / 10 for many of these
    block = readings([1] * len(value), START + np.arange(len(value)) * 1000, value)
    assert_same(decode(encode(block)), block)


def test_values_a_few_doubles_off_a_decimal_number_are_cheap() -> None:
    value = np.random.default_rng(1).integers(0, 5000, 2000) * 0.1  # the product is often not the nearest double
    assert np.count_nonzero(value != np.round(value, 1)) > 100
    block = readings([1] * len(value), START + np.arange(len(value)) * 10**9, value)
    data = encode(block)
    assert_same(decode(data), block)
    assert len(data) < 2.5 * len(value)


def test_a_large_value_beside_a_fine_one() -> None:
    block = readings([1] * 3, [START] * 3, [9e15, 0.001, 4503599627370497.5])
    assert_same(decode(encode(block)), block)


def test_read_only_and_strided_columns_are_taken() -> None:
    wide = np.arange(40, dtype=np.float64).reshape(20, 2)
    block = Readings(
        np.frombuffer(np.arange(20, dtype=np.uint32).tobytes(), np.uint32),
        np.arange(40, dtype=np.int64)[::2],
        wide[:, 1],
        np.frombuffer(bytes(20), np.uint8),
    )
    assert_same(decode(encode(block)), block)


def test_too_many_rows_are_refused_before_anything_is_done() -> None:
    zeros = np.zeros(MAX_ROWS + 1, np.int64)
    with pytest.raises(ValueError, match="at most"):
        encode(Readings(zeros.astype(np.uint32), zeros, zeros.astype(np.float64), zeros.astype(np.uint8)))


def block_of_everything() -> Readings:
    rng = np.random.default_rng(3)
    texts = {text_hash("a"): "a", text_hash("b"): "b"}
    tag = rng.integers(0, 30, 300).astype(np.uint32)
    value = np.round(rng.normal(size=300) * 50, 1)
    value[tag == 3] = rng.normal(size=int((tag == 3).sum()))
    value[tag == 4] = np.float32(1 / 3)
    value[tag == 5] = float(text_hash("a"))
    value[tag == 6] = np.nan
    return readings(tag, START + rng.integers(0, 10**6, 300) * 1000, value, (tag == 6) * 129, texts)


def test_every_cut_and_every_flipped_bit_is_noticed() -> None:
    data = encode(block_of_everything())
    for length in range(len(data)):
        with pytest.raises(CodecError):
            decode(data[:length])
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at % 8)
        with pytest.raises(CodecError):
            decode(bytes(flipped))


@given(st.data())
@settings(deadline=None, max_examples=400, suppress_health_check=list(HealthCheck))
def test_damage_under_a_valid_checksum_gives_readings_or_our_error(data: st.DataObject) -> None:
    block = data.draw(st.sampled_from([block_of_everything(), block_of_everything().where(slice(0, 20))]))
    body = bytearray(encode_body(block))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(1, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode(close(bytes(body[: data.draw(st.integers(2, len(body)))])))
    except CodecError:
        return
    assert len(found) <= MAX_ROWS


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=400)
def test_any_bytes_under_a_valid_checksum_give_readings_or_our_error(body: bytes) -> None:
    try:
        decode(close(bytes([VERSION]) + body))
    except CodecError:
        return


def test_few_bytes_can_not_ask_for_much_memory() -> None:
    many = b"\xff\xff\xff\xff\x7f"
    for body in (many + many + many, b"\x80\x80\x40\x01\x01\x00", many + b"\x01\x01\x00"):
        with pytest.raises(CodecError):
            decode(close(bytes([VERSION, 0]) + b"\x55\x05" + body))


def test_another_version_is_refused_by_name() -> None:
    with pytest.raises(CodecError, match="version 9"):
        decode(close(b"\x09rest of a later format"))


def test_the_prefix_is_protected_too() -> None:
    block = block_of_everything()
    data = encode(block, b"head")
    assert_same(decode(data, 4), block)
    with pytest.raises(CodecError):
        decode(b"HEAD" + data[4:], 4)


def test_the_checksum_is_the_usual_crc32() -> None:
    data = encode(block_of_everything())
    assert zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "little")


def test_decoding_needs_no_numba(tmp_path: Path) -> None:
    data = tmp_path / "block"
    data.write_bytes(encode(block_of_everything()))
    program = (
        "import sys; sys.modules['numba'] = None\n"
        "from pathlib import Path\n"
        "from gateway.codec import decode\n"
        "from gateway.codec.message import unpack\n"
        "print(len(decode(Path(sys.argv[1]).read_bytes())), sorted(m for m in sys.modules if m.startswith('llvm')))"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(data)], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == ["300", "[]"]


def test_encoding_works_uncompiled(tmp_path: Path) -> None:
    """The kernels as plain functions write the same bytes, and read nothing out of bounds."""
    data = tmp_path / "block"
    data.write_bytes(encode(block_of_everything()))
    program = (
        "import sys\nfrom pathlib import Path\nfrom gateway.codec import decode, encode\n"
        "data = Path(sys.argv[1]).read_bytes()\nassert encode(decode(data)) == data"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", program, str(data)], check=False, capture_output=True, text=True, env=environment
    )
    assert ran.returncode == 0, ran.stderr


def test_after_warming_up_nothing_is_compiled() -> None:
    warm()
    functions = [
        runs.survey,
        runs.tabulate,
        runs.split,
        streams.measure,
        streams.planes,
        streams.write,
        reading.read,
    ]
    before = [len(getattr(function, "signatures", ())) for function in functions]
    test_read_only_and_strided_columns_are_taken()
    for block in (
        block_of_everything(),
        block_of_everything().where(slice(0, 0)),
        block_of_everything().where(slice(0, 3)),
    ):
        decode_quickly(encode(block))
    assert [len(getattr(function, "signatures", ())) for function in functions] == before
