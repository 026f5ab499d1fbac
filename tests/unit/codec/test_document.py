"""docs/columns-format.md says all a receiver needs: a decoder written from it alone reads what the encoder writes."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.codec import encode
from gateway.codec.layout import KNOWN_FLAGS, NIBBLES, PLANES, RLE, VARINT, ZSTD
from gateway.codec.message import Header, pack
from gateway.readings import Readings, text_hash
from tests.unit.codec import by_the_document
from tests.unit.codec.test_codec import ROWS, START, block_of_everything, readings

HEADER = Header("0123456789abcdef", "9f2c61", 1042, "welding-cell-3", "prüfstand", 7)
TEXTS = {text_hash(text): text for text in ("", "run", "stop", "größer")} | {77: "seventy-seven"}

BATCHES = {text_hash(text): text for text in (f"batch 2026-11-26 line 3 number {number:04}" for number in range(200))}


def assert_read(block: Readings, header: Header = HEADER) -> None:
    found = by_the_document.message(pack(header, block))
    assert (found.dictionary, found.boot, found.block) == (header.dictionary, header.boot, header.block)
    assert (found.gateway, found.device, found.part) == (header.gateway, header.device, header.part)
    wanted = block.where(np.argsort(block.tag, kind="stable"))
    columns = wanted.tag, wanted.time_ns, wanted.value.view(np.uint64), wanted.quality
    assert found.rows == list(zip(*(column.tolist() for column in columns), strict=True))
    assert found.texts == dict(block.texts)


@given(ROWS)
@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
def test_any_rows(rows: list[tuple[int, int, float, int]]) -> None:
    tag, time_ns, value, quality = ([row[column] for row in rows] for column in range(4))
    assert_read(readings(tag, time_ns, value, quality))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(sorted(TEXTS)) | st.just(5)), max_size=30))
@settings(deadline=None, max_examples=100)
def test_texts(rows: list[tuple[int, int]]) -> None:
    tags, keys = [tag for tag, _ in rows], [float(key) for _, key in rows]
    assert_read(readings(tags, [START] * len(rows), keys, None, TEXTS))


def shapes() -> dict[str, Readings]:
    """Blocks that bring out every coding and flag."""
    rng = np.random.default_rng(5)
    count = 3000
    tag = np.repeat(np.arange(30), 100)
    grid = START + np.tile(np.arange(100), 30) * 500_000_000
    walk = np.round(np.cumsum(rng.normal(size=count)), 2)
    return {
        "everything": block_of_everything(),
        "a header without names": block_of_everything().where(slice(0, 3)),
        "counters": readings(tag, grid, np.tile(np.arange(100) * 7.0, 30)),
        "ramps": readings(tag, grid, np.tile(np.arange(100) ** 2 / 8, 30)),
        "walks": readings(tag, grid, walk),
        "products": readings(tag, grid, rng.integers(0, 5000, count) * 0.1),
        "accelerated products": readings(tag, grid, np.tile(np.arange(100) ** 2, 30) * 0.1),
        "doubles": readings(tag, grid, rng.normal(size=count)),
        "singles": readings(tag, grid, rng.normal(size=count).astype(np.float32)),
        "own times": readings(tag, START + np.sort(rng.integers(0, 10**9, count)) * 1000, walk),
        "nanoseconds": readings(tag, START + rng.integers(0, 10**9, count), walk, rng.integers(0, 256, count)),
        "far tags": readings([0, 2**32 - 1, 5], [START] * 3, [1.0, 2.0, np.nan]),
        "one text": readings([1] * 400, grid[:400], [float(text_hash("run"))] * 400, None, TEXTS),
        "batches": readings([1] * 200, grid[:200], [float(key) for key in BATCHES], None, BATCHES),
        "nothing": readings([], [], []),
    }


@pytest.mark.parametrize("name", shapes())
def test_blocks_of_every_shape(name: str) -> None:
    header = Header("0123456789abcdef", "9f2c61", 0) if name == "a header without names" else HEADER
    assert_read(shapes()[name], header)


def test_the_shapes_bring_out_every_flag_and_every_coding() -> None:
    flags, codes = 0, set[int]()
    for block in shapes().values():
        data = encode(block)
        flags |= data[1]
        if not data[1] & ZSTD:
            word = int.from_bytes(data[2:4], "little")
            codes |= {word >> (2 * stream) & 3 for stream in range(7)}
    assert flags == KNOWN_FLAGS
    assert codes == {VARINT, RLE, NIBBLES, PLANES}


def test_the_decoder_knows_nothing_but_the_document() -> None:
    tree = ast.parse(Path(by_the_document.__file__).read_text(encoding="utf-8"))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not [name for name in names if name.startswith("gateway")]
