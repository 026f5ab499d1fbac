from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.field.s7.address import Address, fits, parse


@pytest.mark.parametrize(
    ("text", "address", "printed"),
    [
        ("DB1.DBX0.3", Address("DB", 1, 0, 3, "X"), "DB1.DBX0.3"),
        ("db12.dbw2", Address("DB", 12, 2, 0, "W"), "DB12.DBW2"),
        ("DB1.DBD4", Address("DB", 1, 4, 0, "D"), "DB1.DBD4"),
        ("M0.1", Address("M", 0, 0, 1, "X"), "M0.1"),
        ("MW2", Address("M", 0, 2, 0, "W"), "MW2"),
        ("EB7", Address("I", 0, 7, 0, "B"), "IB7"),
        ("AD4", Address("Q", 0, 4, 0, "D"), "QD4"),
        ("I1.7", Address("I", 0, 1, 7, "X"), "I1.7"),
    ],
)
def test_addresses(text: str, address: Address, printed: str) -> None:
    assert parse(text) == address
    assert str(address) == printed
    assert parse(printed) == address


@pytest.mark.parametrize(
    "text", ["", "DB1", "DB1.DBX0", "DB1.DBX0.8", "DB1.DBW2.1", "DB0.DBW0", "DB1.DBW99999", "X1.0", "M1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"DB1\.DBX0\.3|data blocks|counted up"):
        parse(text)


@given(st.text(max_size=20))
def test_nothing_but_a_value_error(text: str) -> None:
    try:
        assert parse(str(parse(text))) == parse(text)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("text", "kind", "right"),
    [
        ("DB1.DBX0.0", "bool", True),
        ("DB1.DBX0.0", "int16", False),
        ("DB1.DBB0", "bool", False),
        ("DB1.DBW0", "int16", True),
        ("DB1.DBW0", "float32", False),
        ("DB1.DBD0", "float32", True),
        ("DB1.DBD0", "int16", False),
        ("DB1.DBD0", "float64", True),
        ("DB1.DBB0", "float64", True),
        ("DB1.DBB0", "string", True),
    ],
)
def test_the_letter_must_fit_the_type(text: str, kind: str, right: bool) -> None:
    assert (fits(parse(text), kind) == "") is right
