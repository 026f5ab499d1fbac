"""The JSON Schema refuses what `check` refuses for its form, and nothing that `check` takes."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import load_text
from gateway.config.document import parse
from gateway.config.schema import schema
from gateway.errors import ConfigError

ROOT = Path(__file__).parents[3]
SCHEMA = schema()
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)
VALID = [ROOT / "tests/cases/contract_example/gateway.yaml", *sorted((ROOT / "config").rglob("*.yaml"))]
FORM = re.compile(
    r"unknown key|this key is missing|is no valid name|is a reserved name|unknown driver"
    r"|expected (a list|keys and values|text|true or false|a (whole |finite )?number|at (least|most)|more than|')"
    r"|expected a (duration|size) such|no address"
)

MORE = """
gateway: {name: a}
derived: {tags: {p: {expression: "press.a * 2", range: {min: 0}, steps: [{rate: {per: 1s}}]}}}
connections:
  one:
    driver: modbus-rtu
    port: /dev/ttyUSB7
    devices:
      press:
        unit: 1
        max_gap: 4
        tags:
          a: {address: holding:0.high, type: uint8, steps: [{spike: {}}, {deadband: {absolute: 1}}], alarm: {high: 5}}
          d: {address: 40012, steps: [{swinging-door: {deviation: auto}}]}
          b:
            address: "00001"
            steps: [{aggregate: {every: 10s, compute: [min, last], raw: true}}]
          c: {address: 40011, steps: [{vibration: {bands: {low: {low: 1, high: 2}}}}]}
upstreams: {plant: {broker: ["mqtt://127.0.0.1", "mqtts://h"], max_message: 1MiB, keepalive: 10s, compress: zstd}}
status: {token: {env: TOKEN}}
log: {devices: {press: debug}}
"""


def data(file: Path) -> Any:
    return parse(file.read_text(encoding="utf-8")).data


def refusals(document: Any) -> list[str]:
    """What `check` says."""
    try:
        load_text(json.dumps(document), Path("gateway.yaml"), running=True)
    except ConfigError as error:
        return [finding.message for finding in error.findings]
    return []


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every (mapping or list, key or index) of a document."""
    for key, below in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield node, key
        yield from places(below)


def test_it_is_a_schema() -> None:
    jsonschema_rs.meta.validate(SCHEMA)


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
def test_every_valid_configuration_is_valid_by_it(file: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(data(file))] == []


def test_one_more_that_is_valid() -> None:
    document = parse(MORE).data
    assert refusals(document) == []
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []


def test_it_speaks_json_schema_only() -> None:
    text = json.dumps(SCHEMA)
    assert not [word for word in ("ge", "gt", "le", "lt", "min_length", "max_length") if f'"{word}":' in text]


def test_defaults_stand_there_as_in_the_file() -> None:
    definitions = SCHEMA["$defs"]
    assert definitions["SpoolSettings"]["properties"]["max_size"]["default"] == "1GiB"
    assert definitions["SpoolSettings"]["properties"]["max_age"]["default"] == "30d"
    assert definitions["Seal"]["properties"]["max_age"]["default"] == "500ms"
    assert definitions["SwingingDoor"]["properties"]["max_interval"]["default"] == "1d"
    assert definitions["AlarmSettings"]["properties"]["delay"]["default"] == "0ms"


def test_a_fault_is_said_of_the_driver_that_was_chosen() -> None:
    document = parse(MORE.replace("unit: 1", "unit: 300")).data
    [error] = VALIDATOR.iter_errors(document)
    assert list(error.instance_path) == ["connections", "one", "devices", "press", "unit"]


DOCUMENTS = [parse(MORE).data, data(VALID[0])]
VALUES: list[Any] = [
    None,
    True,
    5,
    -1,
    10**9,
    0.5,
    "zzz",
    "on",
    "5",
    "0s",
    "1s",
    [],
    [[]],
    {},
    {"zzz": 1},
    "state",
    "a b",
]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A valid document in which something changed at one place: a value, a key that went, a key that came."""
    document = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    there = list(places(document))
    node, key = there[draw(st.integers(0, len(there) - 1))]
    kind = draw(st.sampled_from(["value", "gone", "more", "renamed"]))
    if kind == "value" or isinstance(node, list):
        node[key] = draw(st.sampled_from(VALUES))
    elif kind == "gone":
        del node[key]
    elif kind == "more":
        node[draw(st.sampled_from(["zzz", "a b", "state", "every"]))] = draw(st.sampled_from(VALUES))
    else:
        node[draw(st.sampled_from(["zzz", "a b", "state"]))] = node.pop(key)
    return document


@settings(deadline=None, max_examples=150)
@given(mutated())
def test_both_refuse_the_same_forms(document: Any) -> None:
    said = refusals(document)
    by_form = [message for message in said if FORM.search(message)]
    if VALIDATOR.is_valid(document):
        assert not by_form
    else:
        assert said, [error.message for error in VALIDATOR.iter_errors(document)]
