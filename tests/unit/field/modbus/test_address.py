from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.field.modbus.address import Address, Area, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("holding:100", Address("holding", 100)),
        ("input:0", Address("input", 0)),
        ("coil:3", Address("coil", 3)),
        ("discrete:65535", Address("discrete", 65535)),
        ("holding:140.3", Address("holding", 140, bit=3)),
        ("holding:140.15", Address("holding", 140, bit=15)),
        ("input:7.high", Address("input", 7, high=True)),
        (40101, Address("holding", 100)),
        (400101, Address("holding", 100)),
        (465536, Address("holding", 65535)),
        (30001, Address("input", 0)),
        (10001, Address("discrete", 0)),
        ("00001", Address("coil", 0)),
        ("000001", Address("coil", 0)),
        ("065536", Address("coil", 65535)),
        ("40101.3", Address("holding", 100, bit=3)),
        ("49999", Address("holding", 9998)),
    ],
)
def test_both_notations(text: object, expected: Address) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (1, 'must be quoted ("00001")'),
        (9999, "must be quoted"),
        (0, "must be quoted"),
        (-1, "is no address"),
        (-40101, "is no address"),
        ("holding:\u0663", "is no address"),
        ("4\u066000\u0661", "is no address"),
        (40101.3, "must be quoted"),
        ("40000", "count from 1"),
        ("400000", "count from 1"),
        ("50001", "no address"),
        ("20001", "no address"),
        (20001, "no address"),
        ("465537", "end at 65535"),
        ("holding:65536", "end at 65535"),
        ("holding:1.16", "bits 0 to 15"),
        ("coil:1.0", "single bit"),
        ("discrete:1.high", "single bit"),
        ("holding:-1", "no address"),
        ("hold:1", "no address"),
        ("holding 1", "no address"),
        ("", "no address"),
        ("1", "no address"),
        (True, "expected an address"),
        (None, "expected an address"),
        ([], "expected an address"),
    ],
)
def test_wrong_addresses_say_why(text: object, part: str) -> None:
    with pytest.raises(ValueError, match=re.escape(part)):
        parse(text)


@given(st.sampled_from(["coil", "discrete", "holding", "input"]), st.integers(0, 65535))
def test_the_printed_notations_read_back(area: Area, number: int) -> None:
    address = Address(area, number)
    wire, modicon = str(address).rstrip(")").split(" (")
    assert parse(wire) == parse(modicon) == address


@given(st.one_of(st.text(max_size=12), st.integers(), st.floats(allow_nan=True)))
def test_anything_else_is_a_value_error(text: object) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(parse(text), Address)
