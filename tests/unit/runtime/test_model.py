"""One fault in a mapping hides no other, and none is reported because of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from gateway.runtime.model import Fault, Settings, across, nearest


class Item(Settings):
    size: int = 1
    most: int = 5

    @across("size", "most")
    def _fits(self) -> Iterator[Fault]:
        if self.size > self.most:
            yield ("size",), "too large"


class Box(Settings):
    colour: Literal["red", "blue"]
    width: int = Field(ge=1)
    height: int = Field(2, ge=1)
    lid: bool = False
    items: Mapping[str, Item] = Field(min_length=1)

    @across("width", "height")
    def _lies_flat(self) -> Iterator[Fault]:
        if self.height > self.width:
            yield ("height",), "would fall over"

    @across("lid", "colour")
    def _lid_is_red(self) -> Iterator[Fault]:
        if self.lid and self.colour != "red":
            yield ("lid",), "only red ones have a lid"

    @across("items")
    def _no_twins(self) -> Iterator[Fault]:
        sizes = [item.size for item in self.items.values()]
        yield from ((("items", name), "twin") for name, item in self.items.items() if sizes.count(item.size) > 1)


def places(data: Any) -> set[str]:
    try:
        Box.model_validate(data)
    except ValidationError as error:
        return {".".join(map(str, each["loc"])) for each in error.errors()}
    return set()


GOOD: dict[str, Any] = {"colour": "red", "width": 5, "items": {"a": {"size": 1}}}


def test_right_is_right() -> None:
    assert places(GOOD) == set()
    assert Box.model_validate(GOOD).height == 2


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"height": 9}, {"height"}),
        ({"height": 9, "unknown": 1}, {"height", "unknown"}),
        ({"height": 9, "colour": "pink"}, {"height", "colour"}),
        ({"height": 9, "width": "5"}, {"width"}),  # nobody knows whether it would fall over
        ({"height": 9, "width": 0, "lid": True, "colour": "blue"}, {"width", "lid"}),
        ({"height": 9, "lid": True, "colour": "blue"}, {"height", "lid"}),
        ({"height": 9, "items": {}}, {"height", "items"}),
        ({"height": 9, "items": {"a": {"size": 7}}}, {"height", "items.a.size"}),
        ({"height": 9, "items": {"a": {"size": 7, "mist": 9}}}, {"height", "items.a.mist"}),  # most was meant
        ({"items": {"a": {}, "b": {}, "c": {"size": "x"}}}, {"items.a", "items.b", "items.c.size"}),
        ({"items": {"a": 5}, "height": 9}, {"items.a", "height"}),
        ({"lid": 1}, {"lid"}),
        ({"lid": "yes"}, {"lid"}),
        ({"width": True}, {"width"}),
        ({"width": 5.0}, {"width"}),
    ],
)
def test_every_fault_at_its_place(change: Mapping[str, Any], expected: set[str]) -> None:
    assert places({**GOOD, **change}) == expected


def test_a_missing_key_hides_nothing() -> None:
    assert places({"height": 9, "width": 5, "colour": "red"}) == {"items", "height"}


FAULTS: dict[str, dict[str, Any]] = {
    "colour": {"colour": 5},
    "height": {"height": 9},
    "lid": {"lid": "on"},
    "items.a.size": {"items": {"a": {"size": 9}, "b": {"size": 2}}},
    "further": {"further": 1},
}


@given(st.sets(st.sampled_from(sorted(FAULTS))))
def test_faults_of_different_kinds_add_up(chosen: set[str]) -> None:
    data = dict(GOOD)
    for name in chosen:
        data |= FAULTS[name]
    assert places(data) == chosen


@pytest.mark.parametrize(
    ("word", "found"), [("TIMEOUT", "timeout"), ("timout", "timeout"), ("x", ""), ("cdab", "CDAB")]
)
def test_what_was_probably_meant(word: str, found: str) -> None:
    assert nearest(word, ["timeout", "CDAB"]) == found
