from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gateway.field.modbus.settings import ModbusTcp
from gateway.tools.scan import numbers
from gateway.tools.scan_map import TableMap, Values, again, search
from gateway.tools.scan_orders import ORDERS, SURE, Guess, favourite, fit, rank, texts, value_of
from gateway.tools.scan_report import UnitMap, entries, to_json, to_yaml
from gateway.tools.simulation.registers import to_words


class Unit:
    """A unit with registers at some addresses and a limit on the length of a read."""

    def __init__(self, places: set[int], longest: int = 125, code: int = 2) -> None:
        self.places = places
        self.longest = longest
        self.code = code
        self.requests: list[tuple[int, int]] = []

    async def read(self, function: int, first: int, count: int) -> Values | int:
        self.requests.append((first, count))
        if count > self.longest:
            return 3
        wanted = range(first, first + count)
        return [address % 65536 for address in wanted] if self.places.issuperset(wanted) else self.code


async def searched(unit: Unit, last: int) -> TableMap:
    found = TableMap("holding")
    await search(unit.read, found, 0, last, lambda _: None)
    return found


@given(st.sets(st.integers(0, 400)), st.integers(16, 125))
async def test_every_register_that_answers_is_found_and_no_other(places: set[int], longest: int) -> None:
    unit = Unit(places, longest)
    found = await searched(unit, 400)
    assert set(found.values) == places
    assert all(value == address for address, value in found.values.items())
    assert max((count for _, count in unit.requests), default=0) <= 125


async def test_a_full_table_takes_few_requests() -> None:
    unit = Unit(set(range(1000)))
    found = await searched(unit, 999)
    assert found.runs == [(0, 999)]
    assert len(unit.requests) == 8


async def test_a_table_the_unit_does_not_know_costs_one_request() -> None:
    unit = Unit(set(), code=1)
    assert not (await searched(unit, 999)).runs
    assert len(unit.requests) == 1


@pytest.mark.parametrize("longest", [17, 40, 64, 124, 125])
async def test_the_longest_accepted_read_is_found(longest: int) -> None:
    unit = Unit(set(range(300)), longest)
    assert (await searched(unit, 299)).longest == longest


async def test_a_second_sample_reads_no_more_than_the_unit_takes() -> None:
    unit = Unit(set(range(100)), 30)
    found = await searched(unit, 99)
    unit.requests.clear()
    assert await again(unit.read, found) == {address: address for address in range(100)}
    assert max(count for _, count in unit.requests) <= 30


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("values", [(211.5, 212.25), (0.37, 0.41), (49.98, 50.01), (-12.75, -12.5), (5321.7, 5400.1)])
def test_a_float_is_recognised_in_its_order(order: str, values: tuple[float, float]) -> None:
    samples = [to_words(value, "float32", order) for value in values]
    best = rank(samples)[0]
    assert (best.type, best.order) == ("float32", order)
    assert best.value == pytest.approx(values[-1], rel=1e-6)


def test_plain_registers_are_no_float() -> None:
    assert rank([(215, 900), (216, 903)])[0].type == "uint16"


@pytest.mark.parametrize("pair", [(328, 385), (509, 529), (0, 215), (65530, 483)])
def test_two_small_numbers_are_no_float_in_any_order(pair: tuple[int, int]) -> None:
    assert all(guess.score < SURE for guess in rank([pair, pair]) if guess.type == "float32")


def test_a_counter_beyond_16_bits_is_recognised() -> None:
    best = rank([to_words(7_448_345, "uint32"), to_words(7_448_346, "uint32")])[0]
    assert (best.type, best.order, best.value) == ("uint32", "ABCD", 7_448_346.0)


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_ranking_takes_any_words(first: int, second: int) -> None:
    for guess in rank([(first, second), (second, first)]):
        assert 0.0 < guess.score <= 1.0


@given(st.floats(width=32, allow_nan=False), st.sampled_from(ORDERS))
def test_value_of_is_the_inverse_of_to_words(value: float, order: str) -> None:
    assert value_of(to_words(value, "float32", order), "float32", order) == value


def _run(first: int, words: list[int]) -> dict[int, list[Guess]]:
    return {first + place: rank([words[place : place + 2]]) for place in range(len(words) - 1)}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("first", [0, 100])
def test_the_favourite_order_is_that_of_the_floats(order: str, first: int) -> None:
    words = [word for value in (20.3, 21.7, 230.11, 49.97) for word in to_words(value, "float32", order)]
    run = _run(first, [*words, 9800, 215])
    assert favourite([run]) == order
    assert fit(run, order)[1] == first


def test_without_floats_the_standard_order_is_taken() -> None:
    assert favourite([]) == "ABCD"
    assert favourite([_run(0, [0, 0, 0])]) == "ABCD"


def test_text_is_recognised_with_its_padding() -> None:
    words = dict(enumerate(to_words("Press B4251", "string", length=16), 300))
    assert texts(words | {310: 7}) == [(300, 307, "Press B4251")]
    assert texts(dict(enumerate(to_words(211.53, "float32")))) == []
    assert texts(dict(enumerate(to_words("Ab1", "string", length=4)))) == []


@given(st.dictionaries(st.integers(0, 40), st.integers(0, 65535)))
def test_texts_never_overlap_and_lie_in_the_words(words: dict[int, int]) -> None:
    covered = [address for first, last, _ in texts(words) for address in range(first, last + 1)]
    assert len(covered) == len(set(covered))
    assert set(covered) <= set(words)


def test_a_text_becomes_a_string_tag() -> None:
    values = dict(enumerate(to_words("ABCDEF", "string", length=8), 20)) | {24: 5}
    found = [(e.address, e.type, e.length, e.count) for e in entries(UnitMap(1, [TableMap("holding", values)]))]
    assert found == [(20, "string", 8, 1), (24, "uint16", 0, 1)]


def _press() -> UnitMap:
    values: dict[int, int] = {}
    for place, number in enumerate((211.53, 36.61, 41.98)):
        values |= dict(enumerate(to_words(number, "float32", "CDAB"), 100 + 2 * place))
    values |= {106: 9800, 107: 11800, 108: 215}
    holding = TableMap("holding", values, longest=9)
    coils = TableMap("coil", {0: 1, 1: 0, 2: 1}, longest=3)
    return UnitMap(7, [holding, coils], {"holding": values}, "")


def test_proposals_name_floats_and_registers() -> None:
    found = [(entry.area, entry.address, entry.type, entry.order, entry.count) for entry in entries(_press())]
    assert found == [
        ("holding", 100, "float32", "CDAB", 1),
        ("holding", 102, "float32", "CDAB", 1),
        ("holding", 104, "float32", "CDAB", 1),
        ("holding", 106, "uint16", "", 3),
        ("coil", 0, "bool", "", 3),
    ]


def test_the_yaml_is_a_valid_connection(tmp_path: Path) -> None:
    text = to_yaml({"driver": "modbus-tcp", "host": "10.0.0.5", "port": 502}, "plc-10.0.0.5", [_press()])
    document = YAML(typ="safe").load(text)
    settings = ModbusTcp.model_validate(document["connections"]["plc-10-0-0-5"])
    device = settings.devices["plc-10-0-0-5-7"]
    assert device.unit == 7
    assert device.tags["holding_100"].order == "CDAB"
    assert device.tags["holding_106"].count == 3


def test_a_unit_with_short_reads_is_given_its_limit() -> None:
    table = TableMap("holding", dict.fromkeys(range(100), 0), longest=50, searched=True)
    assert "max_registers: 50" in to_yaml({"driver": "modbus-tcp"}, "x", [UnitMap(1, [table])])
    table.searched = False  # stopped half-way: nobody knows yet
    assert "max_registers" not in to_yaml({"driver": "modbus-tcp"}, "x", [UnitMap(1, [table])])


def test_json_has_ranges_and_alternatives() -> None:
    unit = to_json({"host": "h"}, [_press()])["units"][0]
    assert unit["tables"] == {"holding": [[100, 108]], "coil": [[0, 2]]}
    assert unit["tags"][0]["address"] == "holding:100"
    assert unit["registers"]["holding"]["106"] == 9800


def test_numbers_are_a_list_of_ranges() -> None:
    assert numbers("1-3,255,2", 255) == [1, 2, 3, 255]
    for wrong in ("", "a", "5-1", "300", "1--2"):
        with pytest.raises(ValueError, match="expected"):
            numbers(wrong, 255)


def test_words_of_a_pair_are_big_endian() -> None:
    assert value_of(struct.unpack(">2H", struct.pack(">f", 1.5)), "float32", "ABCD") == 1.5
