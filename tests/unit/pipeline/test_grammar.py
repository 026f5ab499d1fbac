"""Expressions: what may stand in them, how names with dashes are read, what comes out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pipeline.grammar import ExpressionError, parse
from gateway.readings import Tag

KNOWN = {
    tag.full_name: tag
    for tag in (
        Tag("press", "a", unit="V"),
        Tag("press", "b", unit="A"),
        Tag("press", "b-a", unit="A"),
        Tag("press", "zones.0", unit="degC"),
        Tag("press", "zones.1", unit="degC"),
        Tag("press", "running", "bool"),
        Tag("press", "batch", "string"),
        Tag("meter-1", "power", unit="W"),
        Tag("meter-2", "power", unit="W"),
        Tag("3d-printer", "head-temp", unit="degC"),
    )
}


def value(text: str, *inputs: float) -> float:
    """The result for one row; inputs in the order of their first use."""
    found = parse(text, KNOWN).evaluate([np.array([number]) for number in inputs])
    assert found.shape == (1,)
    assert found.dtype == np.float64
    return float(found[0])


@pytest.mark.parametrize(
    ("text", "inputs", "wanted"),
    [
        ("press.a * press.b", (230.0, 2.0), 460.0),
        ("press.a - 2 * (press.b + 1)", (10.0, 3.0), 2.0),
        ("-press.a ** 2", (3.0,), -9.0),
        ("press.a // 2 + press.a % 2", (7.0,), 4.0),
        ("7 / press.a", (2.0,), 3.5),
        ("1.5e-3 * press.a", (1000.0,), 1.5),
        ("max(press.a, press.b, 5)", (1.0, 2.0), 5.0),
        ("min(press.a, press.b)", (1.0, 2.0), 1.0),
        ("abs(press.a)", (-4.0,), 4.0),
        ("sqrt(press.a)", (16.0,), 4.0),
        ("where(press.running, press.a, 0)", (1.0, 8.0), 8.0),
        ("where(press.running, press.a, 0)", (0.0, 8.0), 0.0),
        ("press.a > 3", (4.0,), 1.0),
        ("1 < press.a <= 3", (4.0,), 0.0),
        ("press.a == 3 or press.b != 3", (2.0, 3.0), 0.0),
        ("press.a and not press.b", (2.0, 0.0), 1.0),
        ("+press.a", (2.0,), 2.0),
        ("press.zones.0 + press.zones.1", (20.0, 22.0), 42.0),
        ("\n press.a +\n press.b", (1.0, 2.0), 3.0),
    ],
)
def test_results(text: str, inputs: Sequence[float], wanted: float) -> None:
    assert value(text, *inputs) == wanted


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("meter-1.power - meter-2.power", ("meter-1.power", "meter-2.power")),
        ("meter-1.power-meter-2.power", ("meter-1.power", "meter-2.power")),
        ("{meter-1.power}-{meter-2.power}", ("meter-1.power", "meter-2.power")),
        ("`meter-1.power` * 2", ("meter-1.power",)),
        ("{ press.a }", ("press.a",)),
        ("press.a-1", ("press.a",)),
        ("press.a-1.5e-3", ("press.a",)),
        ("1-press.a", ("press.a",)),
        ("press.a-(2)", ("press.a",)),
        ("3d-printer.head-temp", ("3d-printer.head-temp",)),
        ("press.a-press.b", ("press.a", "press.b")),
        ("press.b-a", ("press.b-a",)),
        ("press.a+press.a", ("press.a",)),
    ],
)
def test_dashes_are_read_as_the_one_thing_they_can_mean(text: str, inputs: tuple[str, ...]) -> None:
    assert parse(text, KNOWN).inputs == inputs


def test_what_can_be_read_in_two_ways_is_refused() -> None:
    known = {tag.full_name: tag for tag in (Tag("x", "a"), Tag("y", "b"), Tag("x", "a-y.b"))}
    with pytest.raises(ExpressionError, match="2 ways: put blanks around a minus, or braces"):
        parse("x.a-y.b", known)
    assert parse("x.a - y.b", known).inputs == ("x.a", "y.b")
    assert parse("{x.a-y.b}", known).inputs == ("x.a-y.b",)


@pytest.mark.parametrize(
    ("text", "sentence", "hint"),
    [
        ("press.aa + 1", "there is no tag 'press.aa'", 'did you mean "press.a"'),
        ("meter-1.powr", "there is no tag 'meter-1.powr'", 'did you mean "meter-1.power"'),
        ("a + 1", "there is no tag 'a'", "device"),
        ("press.batch", "press.batch is text", ""),
        ("press.a +", "this is no expression", ""),
        ("", "this is no expression", ""),
        ("press.a = 3", "this is no expression", ""),
        ("1 + 2", "uses no tag", ""),
        ("sqr(press.a)", "there is no function sqr", 'did you mean "sqrt"'),
        ("max(press.a)", "max takes 2 or more values, not 1", ""),
        ("where(press.a, 1)", "where takes 3 values, not 2", ""),
        ("sqrt(x=press.a)", "there is no function sqrt", ""),
        ("press.a + 'x'", "is no number", ""),
        ("press.a + True", "is no number", ""),
        ("press.a + 1j", "is no number", ""),
        ("press.a + 1e999", "too large", ""),
        ("press.a + " + "9" * 400, "too large", ""),
        ("press.a if press.b else 1", "can't stand in an expression", ""),
        ("[press.a]", "can't stand in an expression", ""),
        ("press.a in (1, 2)", "can't stand in an expression", ""),
        ("press.a & 1", "can't stand in an expression", ""),
        ("lambda: press.a", "can't stand in an expression", ""),
        ("(press.a).real", "can't stand in an expression", ""),
        ("(press.a)[0]", "can't stand in an expression", ""),
        ("max(*press.a, press.b)", "can't stand in an expression", ""),
        ("(tag_0_)", "names of the form", ""),
        ("__import__('os')", "there is no function", ""),
        ("press.a + " * 400 + "1", "longer than", ""),
        ("(" * 300 + "press.a" + ")" * 300, "this is no expression", ""),
    ],
)
def test_everything_else_is_refused_in_one_sentence(text: str, sentence: str, hint: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text, KNOWN)
    assert sentence in str(caught.value)
    assert hint in caught.value.hint
    assert "\n" not in str(caught.value)


@given(st.text(alphabet="press.a-b+*/()<>=! 019{}`,'[]andornotminwhere\n", max_size=40))
def test_no_text_ends_in_another_error(text: str) -> None:
    try:
        found = parse(text, KNOWN)
    except ExpressionError:
        return
    columns = [np.array([1.0, np.nan, -2.0]) for _ in found.inputs]
    assert found.evaluate(columns).shape == (3,)


def test_a_row_without_a_value_has_no_result() -> None:
    for text in ("press.a > 3", "press.a == press.a", "not press.a", "press.a and 0", "where(press.a, 1, 2)"):
        assert math.isnan(value(text, math.nan)), text
    assert math.isnan(value("sqrt(press.a)", -1.0))
    assert math.isinf(value("1 / press.a", 0.0))


def test_whole_columns_are_computed_at_once() -> None:
    found = parse("press.a * press.b + 1", KNOWN).evaluate([np.arange(4.0), np.full(4, 2.0)])
    assert found.tolist() == [1.0, 3.0, 5.0, 7.0]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("press.a * press.b", "V·A"),
        ("press.a / press.a", ""),
        ("press.a / press.b", "V/A"),
        ("meter-1.power + meter-2.power", "W"),
        ("meter-1.power + 5", "W"),
        ("max(meter-1.power, 0)", "W"),
        ("abs(-press.a)", "V"),
        ("where(press.running, press.a, 0)", "V"),
        ("press.a + press.b", ""),
        ("meter-1.power * 0.001", ""),
        ("press.a > 5", ""),
    ],
)
def test_the_unit_follows_where_that_is_certain(text: str, unit: str) -> None:
    assert parse(text, KNOWN).unit == unit


def test_comparisons_and_logic_are_truths() -> None:
    assert parse("press.a > 3 and press.b < 2", KNOWN).truth
    assert parse("not press.a", KNOWN).truth
    assert not parse("press.a + (press.b > 2)", KNOWN).truth
