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


def test_earlier_of_several_merged_mappings_win_and_one_may_come_twice() -> None:
    text = "a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nown: {<<: [*a, *b, {x: 5, z: 3}], y: 4}\n"
    document = parse(text)
    assert not document.faults
    assert document.data["own"] == {"y": 4, "x": 1, "z": 3}


@pytest.mark.parametrize("value", ["5", "[5]", "", "word"])
def test_only_keys_and_values_can_be_merged(value: str) -> None:
    assert [fault.path for fault in parse(f"a: {{<<: {value}}}\n").faults] == [("a", "<<")]


def test_a_mapping_cant_be_merged_into_itself() -> None:
    assert [fault.path for fault in parse("a: &a {<<: *a, b: 1}\n").faults] == [("a", "<<")]


def test_a_quoted_merge_key_is_a_key() -> None:
    assert parse('a: {"<<": {b: 1}}').data == {"a": {"<<": {"b": 1}}}


def test_an_anchor_may_be_used_again() -> None:
    assert parse("a: &x 1\nb: &x 2\nc: *x\n").data == {"a": 1, "b": 2, "c": 2}


@pytest.mark.parametrize("text", ["a: !env HOME", "a: !secret x", "a: !secret {b: 1}", "a: [!x 1]"])
def test_other_yaml_tags_are_refused(text: str) -> None:
    [fault] = parse(text).faults
    assert "has no meaning here" in fault.message


def test_aliases_that_multiply_are_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    [fault] = parse("\n".join(lines)).faults
    assert "more than" in fault.message


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a:\n\tb: 1", Place(2, 1), "a tab stands here"),
        ("a:\tb", Place(1, 3), "a tab stands here"),
        ("a: [*]", Place(1, 6), "starts with * must be quoted"),
        ("{a: [!x]}", Place(1, 9), "starts with ! must be quoted"),
        ("a: @x", Place(1, 4), "put it in quotes"),
        ("a: b: c", Place(1, 5), "a colon isn't expected here"),
        ("a: {b: 1", Place(1, 9), "never closed"),
        ('a: "b', Place(1, 6), "a quote above is never closed"),
        ("a: {b: 1}}", Place(1, 10), "a } without its {"),
        ("a:\n  b: 1\n c: 1", Place(3, 2), "the indentation fits no line above"),
        ("a: 1\nb: \x07", Place(2, 4), "U+0007"),
        ("null", Place(1, 1), "the file is empty"),
    ],
)
def test_what_the_parser_says_in_plain_words(text: str, place: Place, words: str) -> None:
    [fault] = parse(text).faults
    assert fault.place == place
    assert words in fault.message


def test_an_alias_inside_itself_is_a_fault() -> None:
    document = parse("a: &a [1, *a]\n")
    assert [fault.message for fault in document.faults] == ["an alias may not contain itself"]


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "a: 1\n---\nb: 2\n", "a: [1\n", "\tb: 1", "a: b: c", "{" * 50, "~", "--- null"]
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
