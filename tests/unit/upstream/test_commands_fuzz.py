"""Whatever arrives as a request gets the documented answer, and leaves records that strict readers can read."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.upstream.commanding import TABLE, Plant

STATUSES: Final = {
    "ok",
    "denied",
    "unknown_tag",
    "out_of_range",
    "bad_type",
    "expired",
    "timeout",
    "failed",
    "mismatch",
}
NUMBERS = st.integers() | st.floats() | st.sampled_from([1e308, 2**64, -(10**400), 0.1, -0.0, 900, 1500, 1501])
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
TAGS = st.sampled_from([tag.full_name for tag in TABLE]) | st.text(max_size=20)
WRITES = st.lists(st.fixed_dictionaries({"tag": TAGS, "value": VALUES}), max_size=5) | VALUES
REQUESTS = st.fixed_dictionaries(
    {"id": st.text(max_size=10), "writes": WRITES}, optional={"expires": VALUES, "x": VALUES}
)


def answered(text: bytes) -> tuple[dict[str, Any], Plant]:
    plant = Plant()
    return json.loads(asyncio.run(plant.executor.answer(text, "fuzz"))), plant


def no_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} is no JSON")


def check(text: bytes) -> dict[str, Any]:
    """What holds for every answer."""
    answer, plant = answered(text)
    assert list(answer) == ["id", "results"]
    if answer["results"] == [{"status": "bad_request"}]:
        assert plant.written == []
    else:
        request = json.loads(text)
        assert answer["id"] == request["id"]
        assert [result["tag"] for result in answer["results"]] == [write["tag"] for write in request["writes"]]
        assert {result["status"] for result in answer["results"]} <= STATUSES
        assert [name for name, _ in plant.written] == [
            result["tag"] for result in answer["results"] if result["status"] in {"ok", "mismatch"}
        ]
        assert len(plant.events) == len(answer["results"])
    for record in (*plant.events, *(body for _, body in plant.audit.records)):
        json.loads(json.dumps(record), parse_constant=no_constant)
    return answer


@given(REQUESTS)
@settings(max_examples=200, deadline=None)
def test_near_requests(request: dict[str, Any]) -> None:
    check(json.dumps(request).encode())


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_any_json(value: Any) -> None:
    check(json.dumps(value).encode())


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('{"id":"a","writes":[{"tag":"press.setpoint","value":1e400}]}', "out_of_range"),
        ('{"id":"a","writes":[{"tag":"press.speed","value":-1e400}]}', "out_of_range"),
        ('{"id":"a","writes":[{"tag":"press.speed","value":' + "9" * 4000 + "}]}", "out_of_range"),
        ('{"id":"a","writes":[{"tag":"press.speed","value":[1e400]}]}', "bad_type"),
        ('{"id":"a","writes":[{"tag":"press.setpoint","value":1}],"expires":1e400}', "bad_request"),
        ('{"id":"a","writes":[{"tag":"press.setpoint","value":NaN}]}', "bad_request"),
        ('{"id":"a","writes":[{"tag":"press.setpoint","value":1}],"x":' + "[" * 60_000 + "]" * 1, "bad_request"),
        ('{"id":"a","writes":[{"tag":"press.setpoint","value":1}],"x":"' + "x" * 70_000 + '"}', "bad_request"),
        ('{"id":"\\ud800","writes":[{"tag":"press.setpoint","value":1}]}', "bad_request"),
        ('{"id":"a","writes":[]}', "bad_request"),
        ('{"id":"a","writes":' + json.dumps([{"tag": "press.setpoint", "value": 1}] * 101) + "}", "bad_request"),
        ('{"id":"","writes":[{"tag":"press.setpoint","value":1}]}', "bad_request"),
        ('{"id":7,"writes":[{"tag":"press.setpoint","value":1}]}', "bad_request"),
    ],
)
def test_hostile_requests(text: str, status: str) -> None:
    assert check(text.encode())["results"][0]["status"] == status
