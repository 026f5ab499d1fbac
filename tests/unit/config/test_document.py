from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.document import Place, parse, scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("yes", "yes"),
        ("0755", 755),
        ("0o755", 493),
        ("0x1F", 31),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("3.1.1", "3.1.1"),
        ("2026-01-01", "2026-01-01"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("-.inf", -math.inf),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    found = scalar(text, plain=True)
    assert found == value
    assert type(found) is type(value)


def test_quoted_scalars_are_text() -> None:
    assert parse("a: \"1\"\nb: 'true'").data == {"a": "1", "b": "true"}


def test_places_are_one_based_and_of_key_and_value() -> None:
    document = parse("a:\n  b: {c: 1}\nd: [x, y]\n")
    assert document.place(("a", "b", "c")) == Place(2, 10)
    assert document.place(("a", "b", "c"), key=True) == Place(2, 7)
    assert document.place(("d", 1)) == Place(3, 8)


def test_place_of_a_missing_key_is_its_nearest_ancestor() -> None:
    document = parse("a:\n  b: 1\n")
    assert document.place(("a", "missing", "deeper")) == Place(1, 1)


def test_a_key_that_stands_twice_is_a_fault_at_its_second_place() -> None:
    document = parse("a: 1\nb: 2\na: 3\n")
    assert [(fault.place, fault.path) for fault in document.faults] == [(Place(3, 1), ("a",))]
    assert document.data == {"a": 1, "b": 2}


def test_merged_keys_yield_to_own_ones() -> None:
    assert parse("base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\n").data["own"] == {"y": 3, "x": 1}


def test_an_alias_inside_itself_is_a_fault() -> None:
    document = parse("a: &a [1, *a]\n")
    assert [fault.message for fault in document.faults] == ["an alias may not contain itself"]


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "a: 1\n---\nb: 2\n", "a: [1\n", "\tb: 1", "a: b: c", "{" * 50]
)
def test_what_is_no_single_document_is_one_fault(text: str) -> None:
    document = parse(text)
    assert len(document.faults) == 1
    assert document.data is None


@given(st.text(max_size=200))
def test_no_text_raises_and_every_place_lies_inside_it(text: str) -> None:
    document = parse(text)
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 1
    assert all(1 <= place.line <= lines for place in [*document.values.values(), *document.keys.values()])
