from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.pipeline.settings import STEPS, Step, computed, hints, outgoing, problems
from gateway.readings import Tag


def steps(*items: Any) -> list[Step]:
    return STEPS.validate_python(list(items))


def locations(*items: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        steps(*items)
    return [".".join(map(str, error["loc"])) for error in caught.value.errors()]


def test_every_step_of_the_contract_is_accepted() -> None:
    chain = steps(
        {"spike": {"window": 5, "sigmas": 3}},
        {"median": {"window": 3}},
        {"smooth": {"time_constant": "2s"}},
        {"rate": {"per": "1s"}},
        {"counter": {"bits": 32}},
        {"aggregate": {"every": "10s", "compute": ["min", "max", "mean", "std", "count", "last", "integral"]}},
        {"anomaly": {}},
        {"vibration": {"bands": {"bearing": {"low": 1000, "high": 4000}}}},
        {"deadband": {"absolute": 2, "max_interval": "1m"}},
        {"deadband": {"percent": 1}},
        {"on-change": {"max_interval": "10m"}},
        {"swinging-door": {"deviation": "auto"}},
        {"swinging-door": {"deviation": 0.5, "max_interval": "60s"}},
    )
    assert [step.kind for step in chain[-2:]] == ["swinging-door", "swinging-door"]
    assert chain[8].settings.max_interval == 60.0


@pytest.mark.parametrize(
    ("item", "where"),
    [
        ({"swinging-door": {"deviation": 0}}, "0.swinging-door.deviation"),
        ({"swinging-door": {"deviation": "atuo"}}, "0.swinging-door.deviation"),
        ({"swinging-door": {"deviation": True}}, "0.swinging-door.deviation"),
        ({"swinging-door": {}}, "0.swinging-door.deviation"),
        ({"swinging-door": {"deviation": 1, "max_intervall": "1s"}}, "0.swinging-door.max_intervall"),
        ({"swingingdoor": {"deviation": 1}}, "0.swingingdoor"),
        ({"deadband": {"absolute": -1}}, "0.deadband.absolute"),
        ({"deadband": {}}, "0.deadband"),
        ({"deadband": {"absolute": 1, "percent": 1}}, "0.deadband"),
        ({"spike": {"window": 4}}, "0.spike.window"),
        ({"smooth": {"time_constant": 2}}, "0.smooth.time_constant"),
        ({"aggregate": {"every": "10s", "compute": []}}, "0.aggregate.compute"),
        ({"aggregate": {"every": "10s", "compute": ["min", "min"]}}, "0.aggregate.compute"),
        ({"aggregate": {"every": "10s", "compute": ["avg"]}}, "0.aggregate.compute.0"),
        ({"vibration": {"bands": {"rms": {"low": 1, "high": 2}}}}, "0.vibration.bands.rms"),
        ({"vibration": {"bands": {"low": {"low": 2, "high": 2}}}}, "0.vibration.bands.low.high"),
        ({"deadband": None}, "0"),
        ({"deadband": {"absolute": 1}, "on-change": {}}, "0"),
        ("deadband", "0"),
    ],
)
def test_a_fault_is_located_where_it_stands(item: Any, where: str) -> None:
    assert locations(item) == [where]


@pytest.mark.parametrize("kind", ["bool", "string"])
@pytest.mark.parametrize(
    "step",
    [
        {"swinging-door": {"deviation": 1}},
        {"deadband": {"absolute": 1}},
        {"smooth": {"time_constant": "1s"}},
        {"spike": {}},
        {"median": {}},
        {"rate": {}},
        {"counter": {}},
    ],
)
def test_arithmetic_steps_need_numbers(kind: str, step: Any) -> None:
    assert problems(Tag("d", "t", kind), steps(step))


def test_text_and_bool_may_use_on_change() -> None:
    for kind in ("bool", "string"):
        assert problems(Tag("d", "t", kind), steps({"on-change": {}})) == []


def test_percent_needs_a_range() -> None:
    chain = steps({"deadband": {"percent": 1}})
    assert problems(Tag("d", "t"), chain)
    assert problems(Tag("d", "t", low=0.0), chain)
    assert problems(Tag("d", "t", low=1.0, high=1.0), chain)
    assert problems(Tag("d", "t", low=-40.0, high=400.0), chain) == []
    assert chain[0].deadband is not None
    assert chain[0].deadband.band(Tag("d", "t", low=-40.0, high=400.0)) == pytest.approx(4.4)


def test_a_lossy_step_must_be_last() -> None:
    assert problems(Tag("d", "t"), steps({"deadband": {"absolute": 1}}, {"smooth": {"time_constant": "1s"}}))
    assert problems(Tag("d", "t"), steps({"deadband": {"absolute": 1}}, {"on-change": {}}))
    assert problems(Tag("d", "t"), steps({"smooth": {"time_constant": "1s"}}, {"deadband": {"absolute": 1}})) == []


def test_a_step_that_adds_tags_may_stand_once() -> None:
    one = {"aggregate": {"every": "1s", "compute": ["min"]}}
    assert problems(Tag("d", "t"), steps(one, one))


def test_nothing_may_stand_behind_a_step_that_keeps_the_readings() -> None:
    aggregate: dict[str, Any] = {"aggregate": {"every": "1s", "compute": ["min"], "raw": False}}
    assert problems(Tag("d", "t"), steps(aggregate, {"on-change": {}}))
    assert problems(Tag("d", "t"), steps({"median": {}}, aggregate)) == []


def test_an_unusual_order_is_a_hint() -> None:
    chain = steps({"smooth": {"time_constant": "1s"}}, {"spike": {}})
    assert problems(Tag("d", "t"), chain) == []
    assert hints(Tag("d", "t"), chain) == ["smooth usually stands behind spike"]
    assert hints(Tag("d", "t"), chain[::-1]) == []


def test_computed_tags() -> None:
    tag = Tag("d", "t", "int16", "°C", -40.0, 400.0, 0.1)
    chain = steps({"anomaly": {}}, {"aggregate": {"every": "10s", "compute": ["min", "std", "count", "integral"]}})
    found = {tag.name: tag for tag in computed(tag, chain)}
    assert list(found) == ["t.anomaly", "t.min", "t.std", "t.count", "t.integral"]
    assert (found["t.min"].type, found["t.min"].unit, found["t.min"].low) == ("float64", "°C", -40.0)
    assert (found["t.std"].low, found["t.std"].unit) == (None, "°C")
    assert (found["t.count"].type, found["t.count"].kind, found["t.count"].unit) == ("uint32", "integer", "")
    assert found["t.integral"].unit == "°C·s"
    assert (found["t.anomaly"].unit, found["t.anomaly"].low, found["t.anomaly"].high) == ("", 0.0, 1.0)
    assert not any(tag.scaled or tag.write for tag in found.values())


def test_vibration_of_an_array_is_named_after_the_array() -> None:
    chain = steps({"vibration": {"sample_rate": 1000, "bands": {"low": {"low": 10, "high": 100}}}})
    names = [tag.name for element in range(3) for tag in computed(Tag("d", f"a.{element}", unit="g"), chain)]
    assert names == ["a.rms", "a.peak", "a.crest", "a.kurtosis", "a.low"]
    assert [tag.name for tag in computed(Tag("d", "a"), chain)] == names
    without = steps({"vibration": {"bands": {"low": {"low": 10, "high": 100}}}})
    assert problems(Tag("d", "a.0"), without)
    assert problems(Tag("d", "a"), without) == []


@pytest.mark.parametrize(
    ("tag", "chain", "type_"),
    [
        (Tag("d", "t", "uint16"), [{"counter": {"bits": 16}}], "int64"),
        (Tag("d", "t", "uint32"), [{"counter": {}}, {"deadband": {"absolute": 5}}], "int64"),
        (Tag("d", "t", "uint32", scale=0.1), [{"counter": {}}], "float64"),
        (Tag("d", "t", "float32"), [{"counter": {}}], "float64"),
        (Tag("d", "t", "uint32"), [{"counter": {}}, {"rate": {}}], "float64"),
        (Tag("d", "t", "uint32"), [{"smooth": {"time_constant": "1s"}}, {"counter": {}}], "float64"),
    ],
)
def test_the_total_of_a_whole_counter_is_whole(tag: Tag, chain: list[dict[str, Any]], type_: str) -> None:
    assert outgoing(tag, steps(*chain)).type == type_


def test_steps_with_fractions_make_a_whole_number_real() -> None:
    tag = Tag("d", "t", "uint16", "l", low=0.0, high=9.0)
    assert outgoing(tag, steps({"median": {}})) == tag
    smooth = outgoing(tag, steps({"smooth": {"time_constant": "1s"}}))
    assert (smooth.kind, smooth.unit, smooth.high) == ("real", "l", 9.0)
    rate = outgoing(tag, steps({"counter": {"bits": 16}}, {"rate": {"per": "1h"}}))
    assert (rate.kind, rate.unit, rate.high) == ("real", "l/h", None)
