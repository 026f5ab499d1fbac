from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.field.s7.decode import S7Decoder, encode
from gateway.field.s7.plan import Block, Item, item_of, joined, plan, split
from gateway.field.s7.settings import S7Tag
from gateway.readings import Quality

ITEMS = st.lists(
    st.builds(
        Item, st.sampled_from(["DB", "M"]), st.integers(1, 2), st.integers(0, 400), st.sampled_from([1, 2, 4, 8, 20]),
        st.just(0),
    ),
    max_size=40,
).map(lambda items: [item._replace(row=row) for row, item in enumerate(items)])  # fmt: skip


@given(ITEMS, st.integers(0, 30), st.integers(20, 300))
def test_every_item_is_read_once_whole_and_within_the_limits(items: list[Item], max_gap: int, max_size: int) -> None:
    blocks = plan(items, max_gap, max_size)
    assert sorted(item.row for block in blocks for item in block.items) == list(range(len(items)))
    for block in blocks:
        assert block.size <= max_size
        covered: set[int] = set()
        for item in block.items:
            assert (item.area, item.block) == (block.area, block.block)
            assert block.start <= item.start
            assert item.start + item.size <= block.start + block.size
            covered.update(range(item.start, item.start + item.size))
        holes = sorted(set(range(block.start, block.start + block.size)) - covered)
        run = 0
        for previous, hole in zip([-2, *holes], holes, strict=False):
            run = run + 1 if hole == previous + 1 else 1
            assert run <= max_gap


@given(ITEMS)
def test_splitting_ends_at_single_items(items: list[Item]) -> None:
    waiting = plan(items, 30, 300)
    single = []
    while waiting:
        block = waiting.pop()
        parts = split(block)
        assert sorted(item for part in parts for item in part.items) == (sorted(block.items) if parts else [])
        waiting += parts
        if not parts:
            single.append(block)
    assert len(single) == len(items)


def test_neighbours_are_one_request() -> None:
    tags = [
        S7Tag.model_validate({"address": "DB1.DBW2", "type": "int16"}),
        S7Tag.model_validate({"address": "DB1.DBD4", "type": "float32"}),
    ]
    (block,) = plan([item_of(row, tag) for row, tag in enumerate(tags)], 0, 222)
    assert str(block) == "DB1 bytes 2 to 7"


def decoded(tags: list[S7Tag], block: Block, data: bytes) -> tuple[list[float], list[int], dict[int, str]]:
    raw, quality = np.zeros(len(tags)), np.full(len(tags), 0x83, np.uint8)
    texts: dict[int, str] = {}
    S7Decoder(tags).decode(block, data, raw, quality, texts)
    return raw.tolist(), quality.tolist(), texts


def test_values_of_all_types_come_back_as_written() -> None:
    cases: list[tuple[str, str, float]] = [
        ("DB1.DBB0", "int8", -5), ("DB1.DBB1", "uint8", 250), ("DB1.DBW2", "int16", -300), ("DB1.DBW4", "uint16", 6e4),
        ("DB1.DBD6", "int32", -70000), ("DB1.DBD10", "uint32", 4e9), ("DB1.DBB14", "int64", -(2**40)),
        ("DB1.DBB22", "uint64", 2**50), ("DB1.DBD30", "float32", 0.5), ("DB1.DBB34", "float64", 0.1),
    ]  # fmt: skip
    tags = [S7Tag.model_validate({"address": address, "type": kind}) for address, kind, _ in cases]
    block = joined([item_of(row, tag) for row, tag in enumerate(tags)])
    data = b"".join(encode(tag, value) for tag, (_, _, value) in zip(tags, cases, strict=True))
    assert decoded(tags, block, data)[:2] == ([value for *_, value in cases], [0] * len(cases))


def test_bits_are_counted_from_the_right() -> None:
    tags = [S7Tag.model_validate({"address": f"M0.{bit}"}) for bit in range(8)]
    block = joined([item_of(row, tag) for row, tag in enumerate(tags)])
    assert decoded(tags, block, b"\x05")[0] == [1, 0, 1, 0, 0, 0, 0, 0]


def test_a_string_has_its_lengths_in_front_and_lies_are_noticed() -> None:
    tag = S7Tag(address="DB1.DBB0", type="string", length=6)
    block = joined([item_of(0, tag)])
    raw, quality, texts = decoded([tag], block, encode(tag, "caf\xe9").ljust(8, b"\0"))
    assert quality == [0]
    assert texts[int(raw[0])] == "caf\xe9"
    for lie in (b"\x06\x07abcdef", b"\x03\x04abcdef", b"\xfe\xfeabcdef"):
        assert decoded([tag], block, lie)[1] == [Quality.BAD_DECODE]


@given(st.binary(max_size=30))
def test_no_bytes_make_the_decoder_raise(data: bytes) -> None:
    tags = [
        S7Tag(address="DB1.DBB0", type="string", length=10),
        S7Tag.model_validate({"address": "DB1.DBD12", "type": "float32"}),
        S7Tag.model_validate({"address": "DB1.DBX16.2"}),
        S7Tag.model_validate({"address": "DB1.DBB17", "type": "uint64"}),
    ]
    raw, quality, _ = decoded(tags, joined([item_of(row, tag) for row, tag in enumerate(tags)]), data)
    assert len(raw) == len(quality) == 4


@pytest.mark.parametrize(("kind", "value"), [("int16", 40000.0), ("uint8", -1.0), ("float32", 1e39)])
def test_what_a_type_cant_hold_is_refused(kind: str, value: float) -> None:
    with pytest.raises(ValueError, match="too large"):
        encode(S7Tag.model_validate({"address": "DB1.DBB0", "type": kind}), value)
