from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.readings import BAD, REASON_MASK, UNCERTAIN, Quality, Readings, Tag, TagTable, WriteLimits, text_hash

NAMES = st.text(alphabet="abcdefghij_-", min_size=1, max_size=8)
TAGS = st.builds(
    Tag,
    device=NAMES,
    name=NAMES,
    type=st.sampled_from(["bool", "int16", "uint64", "float32", "float64", "string"]),
    unit=st.sampled_from(["", "degC", "°C"]),
    low=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    scale=st.sampled_from([1.0, 0.1]),
)
TABLES = st.lists(TAGS, max_size=12, unique_by=lambda tag: tag.full_name).map(TagTable)


def readings(*rows: tuple[int, int, float], texts: dict[int, str] | None = None) -> Readings:
    tag, time_ns, value = zip(*rows, strict=True)
    quality = np.zeros(len(rows), np.uint8)
    columns = np.array(tag, np.uint32), np.array(time_ns, np.int64), np.array(value, np.float64), quality
    return Readings(*columns, texts or {})


@pytest.mark.parametrize("quality", list(Quality))
def test_class_and_reason_stand_in_one_code(quality: Quality) -> None:
    assert quality.word == {0: "good", UNCERTAIN: "uncertain", BAD: "bad"}[quality & (BAD | UNCERTAIN)]
    assert bool(quality.reason) == bool(quality & REASON_MASK)


def test_the_words_of_the_wire() -> None:
    assert {quality.reason for quality in Quality} == {
        "",
        *("timeout", "link", "exception", "range", "decode"),
        *("stale", "repaired", "clock", "precision"),
    }


@pytest.mark.parametrize(
    ("tag", "kind"),
    [
        (Tag("d", "t", "bool"), "bool"),
        (Tag("d", "t", "string"), "text"),
        (Tag("d", "t", "uint16"), "integer"),
        (Tag("d", "t", "bcd32"), "integer"),
        (Tag("d", "t", "uint16", scale=0.1), "real"),
        (Tag("d", "t", "int32", offset=5), "real"),
        (Tag("d", "t", "float32"), "real"),
    ],
)
def test_kinds(tag: Tag, kind: str) -> None:
    assert tag.kind == kind


@given(TABLES)
def test_a_table_survives_its_json(table: TagTable) -> None:
    again = TagTable.from_json(table.to_json())
    assert again.to_json() == table.to_json()
    assert again.digest == table.digest
    assert [tag.full_name for tag in again] == [tag.full_name for tag in table]


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"version":2,"tags":[]}', b'{"version":1}', b'{"version":1,"tags":[[1]]}']
)
def test_what_is_no_table(text: bytes) -> None:
    with pytest.raises(ValueError, match="no tag dictionary"):
        TagTable.from_json(text)


@given(TABLES, st.lists(TAGS, max_size=12, unique_by=lambda tag: tag.full_name))
def test_a_reload_keeps_every_index(table: TagTable, wanted: list[Tag]) -> None:
    grown = table.grown(wanted)
    assert len(grown) >= len(table)
    for index, tag in enumerate(table):
        assert grown[index].full_name == tag.full_name
        assert grown[index].retired == (tag not in wanted)
    live = [tag for tag in grown if not tag.retired]
    assert sorted(tag.full_name for tag in live) == sorted(tag.full_name for tag in wanted)
    for tag in wanted:
        assert grown[grown.index(tag.full_name)] == tag


@given(st.lists(st.lists(TAGS, max_size=6, unique_by=lambda tag: tag.full_name), min_size=2, max_size=4))
def test_reloads_to_and_fro_add_each_tag_once(configurations: list[list[Tag]]) -> None:
    table = TagTable(configurations[0])
    for wanted in configurations[1:]:
        table = table.grown(wanted)
    size = len(table)
    for wanted in configurations:
        table = table.grown(wanted)
        assert [tag for tag in table if not tag.retired] == sorted(wanted, key=lambda tag: table.index(tag.full_name))
    assert len(table) == size


def test_lookups() -> None:
    table = TagTable([Tag("a", "x"), Tag("b", "x"), Tag("a", "y", retired=True), Tag("a", "z")])
    assert table.index("b.x") == 1
    assert table.find("a.y") is None
    with pytest.raises(KeyError):
        table.index("a.y")
    assert {name: indices.tolist() for name, indices in table.devices.items()} == {"a": [0, 3], "b": [1]}


def test_what_writes_allow_does_not_change_the_dictionary() -> None:
    one = TagTable([Tag("a", "x")])
    assert one.digest == TagTable([Tag("a", "x", write=WriteLimits(0, 5), address="holding:1")]).digest
    assert one.digest != TagTable([Tag("a", "x", unit="A")]).digest


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_hash_is_exact_in_float64(text: str) -> None:
    number = text_hash(text)
    assert 0 <= number < 1 << 52
    assert int(float(number)) == number


def test_a_failed_poll_is_rows() -> None:
    failed = Readings.failed(np.array([3, 5], np.uint32), 1000, Quality.BAD_TIMEOUT)
    assert len(failed) == 2
    assert failed.tag.tolist() == [3, 5]
    assert failed.time_ns.tolist() == [1000, 1000]
    assert np.isnan(failed.value).all()
    assert failed.quality.tolist() == [Quality.BAD_TIMEOUT] * 2


def test_choosing_rows() -> None:
    all_rows = readings((0, 1, 1.0), (1, 2, 2.0), (2, 3, 3.0))
    assert all_rows.where(np.array([True, False, True])).tag.tolist() == [0, 2]
    assert all_rows.where(np.array([2, 0])).tag.tolist() == [2, 0]
    assert all_rows.where(slice(1, None)).value.tolist() == [2.0, 3.0]


def test_joining() -> None:
    one, two = readings((0, 1, 7.0), texts={7: "seven"}), readings((1, 2, 8.0), (0, 3, 9.0), texts={8: "eight"})
    joined = Readings.join([one, two])
    assert joined.tag.tolist() == [0, 1, 0]
    assert joined.time_ns.tolist() == [1, 2, 3]
    assert joined.texts == {7: "seven", 8: "eight"}
    assert Readings.join([one]) is one
    empty = Readings.join([])
    assert len(empty) == 0
    assert [str(column.dtype) for column in (empty.tag, empty.time_ns, empty.value, empty.quality)] == [
        *("uint32", "int64", "float64", "uint8")
    ]
