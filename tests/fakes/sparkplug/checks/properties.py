"""Rules about property sets, Quality among them (chapter 6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tests.fakes.sparkplug.faults import Edit, named, put, rewritten
from tests.fakes.sparkplug.rules import Rule, message, rule
from tests.fakes.sparkplug.schema import FIELDS
from tests.fakes.sparkplug.transcript import BIRTHS, DATA, Suite, metrics_of

QUALITY_CODES: Final = {0, 192, 500}


def _property_sets(suite: Suite) -> Iterator[tuple[str, Any]]:
    found = [
        (place, metric.properties)
        for place, metric in metrics_of(suite, *BIRTHS, *DATA)
        if metric.HasField("properties")
    ]
    assert found, "no scenario has properties"
    yield from found


def as_many_keys_as_values(suite: Suite) -> None:
    for place, properties in _property_sets(suite):
        assert len(properties.keys) == len(properties.values) > 0, place
        assert len(set(properties.keys)) == len(properties.keys), place


def properties_have_types(suite: Suite) -> None:
    for place, properties in _property_sets(suite):
        assert all(value.HasField("type") for value in properties.values), place


def property_types_are_known(suite: Suite) -> None:
    for place, properties in _property_sets(suite):
        for value in properties.values:
            assert value.type in FIELDS, f"{place}: {value.type}"
            assert value.HasField(FIELDS[value.type]), f"{place}: {value}"


def _qualities(suite: Suite) -> list[tuple[str, Any]]:
    found = [
        (place, value)
        for place, properties in _property_sets(suite)
        for key, value in zip(properties.keys, properties.values, strict=True)
        if key == "Quality"
    ]
    assert found
    return found


def quality_is_an_int32(suite: Suite) -> None:
    for place, value in _qualities(suite):
        assert value.type == 3, f"{place}: {value}"
        assert value.HasField("int_value"), f"{place}: {value}"


def quality_is_a_known_code(suite: Suite) -> None:
    codes = {value.int_value for _, value in _qualities(suite)}
    assert codes <= QUALITY_CODES, codes
    assert codes >= {0, 500}, f"the scenarios have bad and stale readings: {codes}"
    for place, metric in metrics_of(suite, *DATA):
        assert metric.is_null == metric.HasField("properties"), f"{place}: Quality stands where there is no value"


def _quality(change: Edit) -> Edit:
    def edit(payload: Any) -> None:
        metric = next(metric for metric in payload.metrics if "Quality" in metric.properties.keys)
        change(metric.properties)

    return edit


_PRESS, _METER = message("DBIRTH", device="press"), message("DBIRTH", device="meter")
RULES: Final[tuple[Rule, ...]] = (
    rule(
        as_many_keys_as_values, "payloads-propertyset-keys-array-size payloads-propertyset-values-array-size",
        rewritten(_METER, named("power", lambda metric: metric.properties.keys.append("x"))),
        rewritten(_METER, named("power", lambda metric: metric.properties.values.pop())),
    ),
    rule(
        properties_have_types, "payloads-metric-propertyvalue-type-req",
        rewritten(_METER, named("power", lambda metric: metric.properties.values[0].ClearField("type"))),
    ),
    rule(
        property_types_are_known, "payloads-metric-propertyvalue-type-value",
        rewritten(_METER, named("power", lambda metric: put("type", 19)(metric.properties.values[0]))),
        rewritten(_METER, named("power", lambda metric: put("type", 3)(metric.properties.values[0]))),
    ),
    rule(
        quality_is_an_int32, "payloads-propertyset-quality-value-type",
        rewritten(_PRESS, _quality(lambda properties: put("type", 4)(properties.values[0]))),
    ),
    rule(
        quality_is_a_known_code, "payloads-propertyset-quality-value-value",
        rewritten(_PRESS, _quality(lambda properties: put("int_value", 64)(properties.values[0]))),
    ),
)  # fmt: skip
