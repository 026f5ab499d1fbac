"""Requests: what is one, and which value may go to which tag."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import WriteError
from gateway.readings import Tag, TagTable, WriteLimits
from gateway.upstream.requests import BadRequestError, Write, allowed, parse, raw_value, same, shown

ANY = WriteLimits()
TABLE = TagTable(
    [
        Tag("d", "flag", "bool", write=ANY),
        Tag("d", "int16", "int16", write=ANY),
        Tag("d", "limited", "int16", write=WriteLimits(0, 1500)),
        Tag("d", "uint64", "uint64", write=ANY),
        Tag("d", "scaled", "uint16", scale=0.1, offset=-10.0, write=ANY),
        Tag("d", "float32", "float32", write=ANY),
        Tag("d", "float64", "float64", write=ANY),
        Tag("d", "float16", "float16", write=ANY),
        Tag("d", "bcd", "bcd16", write=ANY),
        Tag("d", "text", "string", write=ANY),
        Tag("d", "fixed", "int16"),
        Tag("d", "gone", "int16", write=ANY, retired=True),
    ]
)


def status(tag: str, value: Any) -> str:
    try:
        allowed(TABLE, Write(f"d.{tag}", value))
    except WriteError as error:
        return error.status
    return "ok"


@pytest.mark.parametrize(
    ("tag", "value", "expected"),
    [
        ("flag", True, "ok"),
        ("flag", 1, "bad_type"),
        ("flag", "true", "bad_type"),
        ("flag", None, "bad_type"),
        ("int16", 900, "ok"),
        ("int16", 900.0, "ok"),
        ("int16", 900.5, "bad_type"),
        ("int16", "900", "bad_type"),
        ("int16", True, "bad_type"),
        ("int16", [1], "bad_type"),
        ("int16", {"a": 1}, "bad_type"),
        ("int16", 32767, "ok"),
        ("int16", 32768, "out_of_range"),
        ("int16", -32769, "out_of_range"),
        ("int16", 1e300, "out_of_range"),
        ("int16", 10**400, "out_of_range"),
        ("limited", 1500, "ok"),
        ("limited", 1501, "out_of_range"),
        ("limited", -1, "out_of_range"),
        ("uint64", 2**64 - 1, "ok"),
        ("uint64", 2**64, "out_of_range"),
        ("uint64", -1, "out_of_range"),
        ("scaled", 21.53, "ok"),
        ("scaled", 6543.5, "ok"),
        ("scaled", 6543.6, "out_of_range"),
        ("scaled", -10.1, "out_of_range"),
        ("scaled", "1", "bad_type"),
        ("scaled", 10**400, "out_of_range"),
        ("float32", 1e38, "ok"),
        ("float32", 1e39, "out_of_range"),
        ("float32", False, "bad_type"),
        ("float64", 1e300, "ok"),
        ("float64", 10**400, "out_of_range"),
        ("float16", 65504, "ok"),
        ("float16", 70000, "out_of_range"),
        ("bcd", 9999, "ok"),
        ("bcd", 10000, "out_of_range"),
        ("text", "B-17", "ok"),
        ("text", 17, "bad_type"),
        ("fixed", 1, "denied"),
        ("fixed", "x", "denied"),
        ("gone", 1, "unknown_tag"),
        ("nowhere", 1, "unknown_tag"),
    ],
)
def test_what_may_be_written(tag: str, value: Any, expected: str) -> None:
    assert status(tag, value) == expected


def test_large_integers_stay_exact() -> None:
    assert allowed(TABLE, Write("d.uint64", 2**64 - 1))[1] == 2**64 - 1


@pytest.mark.parametrize(
    ("tag", "wanted", "readback", "expected"),
    [
        ("int16", 900, 900.0, True),
        ("int16", 900, 901.0, False),
        ("scaled", 21.53, 21.5, True),  # both are raw 315
        ("scaled", 21.53, 21.6, False),
        ("float32", 0.1, 0.10000000149011612, True),
        ("float32", 0.1, 0.1001, False),
        ("float64", 0.1, 0.1, True),
        ("float64", 0.1, 0.10000000149011612, False),
        ("flag", True, 1.0, True),
        ("flag", True, 0.0, False),
        ("text", "a", "a", True),
        ("text", "a", "b", False),
        ("int16", 900, float("nan"), False),
        ("uint64", 2**64 - 1, float(2**64 - 1), True),
    ],
)
def test_readback_is_compared_as_raw(tag: str, wanted: Any, readback: Any, expected: bool) -> None:
    assert same(TABLE[TABLE.index(f"d.{tag}")], wanted, readback) is expected


@given(st.integers(0, 65535))
def test_every_scaled_value_finds_its_raw_value(raw: int) -> None:
    tag = TABLE[TABLE.index("d.scaled")]
    assert raw_value(tag, raw * tag.scale + tag.offset) == raw


def test_values_are_shown_in_their_kind() -> None:
    kinds: dict[str, float | str] = {"flag": 1.0, "int16": 900.0, "float32": 900, "text": "x"}
    found = {tag: shown(TABLE[TABLE.index(f"d.{tag}")], value) for tag, value in kinds.items()}
    assert json.dumps(found) == '{"flag": true, "int16": 900, "float32": 900.0, "text": "x"}'


def test_a_request() -> None:
    request = parse(b'{"id":"a1","writes":[{"tag":"d.int16","value":900}],"expires":1732258800123,"more":1}')
    assert (request.id, request.expires_ms) == ("a1", 1732258800123)
    assert request.writes == (Write("d.int16", 900),)


WRITES = '"writes":[{"tag":"d.int16","value":1}]'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "null",
        f"{{{WRITES}}}",
        f'{{"id":"",{WRITES}}}',
        f'{{"id":7,{WRITES}}}',
        f'{{"id":null,{WRITES}}}',
        f'{{"id":"{"x" * 129}",{WRITES}}}',
        '{"id":"a"}',
        '{"id":"a","writes":[]}',
        '{"id":"a","writes":{}}',
        '{"id":"a","writes":[1]}',
        '{"id":"a","writes":[{"tag":"d.int16"}]}',
        '{"id":"a","writes":[{"tag":1,"value":1}]}',
        '{"id":"a","writes":[{"tag":"d.int16","value":NaN}]}',
        f'{{"id":"a",{WRITES},"expires":"now"}}',
        f'{{"id":"a",{WRITES},"expires":true}}',
        f'{{"id":"a\\ud800",{WRITES}}}',
        "[" * 60_000,
        '{"id":"a","writes":[{"tag":"d.int16","value":' + "9" * 5000 + "}]}",
        "\xff",
        '{"id":"a","writes":[' + ",".join(['{"tag":"d.int16","value":1}'] * 101) + "]}",
        " " * 70_000,
    ],
)
def test_no_requests(text: str) -> None:
    with pytest.raises(BadRequestError):
        parse(text.encode("latin-1"))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_refused(text: bytes) -> None:
    with pytest.raises(BadRequestError):
        parse(text)
