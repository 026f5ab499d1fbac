from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.field.modbus.settings import NetworkDevice
from gateway.readings import INTEGER_LIMITS, Tag
from gateway.tools.simulation.modbus_units import ModbusUnits
from gateway.tools.simulation.plausible import Signal


@given(st.floats(0, 1e6), st.sampled_from(sorted(INTEGER_LIMITS)), st.floats(-50, 50), st.floats(0.01, 10))
def test_raw_values_fit_their_type(t: float, type_: str, low: float, scale: float) -> None:
    signal = Signal(Tag("press", "x", type_, low=low, high=low + 10.0, scale=scale))
    raw = float(signal.raw(t))
    least, most = INTEGER_LIMITS[type_]
    assert least <= raw <= most
    assert raw == round(raw)


@given(st.floats(0, 1e6), st.floats(-1e3, 1e3), st.floats(0.1, 1e3))
def test_values_stay_inside_the_range(t: float, low: float, width: float) -> None:
    assert low <= float(Signal(Tag("a", "b", "float64", low=low, high=low + width)).at(t)) <= low + width


def test_the_unit_says_what_is_plausible() -> None:
    volts = [float(Signal(Tag("m", "u", "float32", "V")).at(t)) for t in range(300)]
    assert 220.0 < min(volts) < max(volts) < 240.0


def test_counters_only_grow() -> None:
    counts = [float(Signal(Tag("m", "parts", "uint32")).at(t)) for t in range(100)]
    assert np.all(np.diff(counts) >= 0.0)
    assert counts[-1] > counts[0]


def test_bits_change_and_faults_rest() -> None:
    assert {Signal(Tag("m", "running", "bool")).at(t) for t in range(400)} == {0.0, 1.0}
    assert {Signal(Tag("m", "fault_code", "uint16")).at(t) for t in range(400)} == {0.0}


def _units(**device: object) -> ModbusUnits:
    return ModbusUnits({"d": NetworkDevice.model_validate({"unit": 1, **device})})


def test_each_tag_lies_at_its_address_in_its_order() -> None:
    units = _units(
        order="CDAB",
        tags={
            "t": {"address": "holding:10", "type": "float32", "range": {"min": 5, "max": 6}},
            "low": {"address": "holding:20", "type": "uint8"},
            "high": {"address": "holding:20.high", "type": "uint8"},
            "run": {"address": "coil:3", "type": "bool"},
            "name": {"address": "input:5", "type": "string", "length": 6},
        },
    )
    image = units.images[1]
    low, high = image.get("holding", 10, 2)
    assert 5.0 <= np.array([high, low], ">u2").view(">f4")[0] <= 6.0
    assert image.tables["input"].defined[5:8].all()
    assert image.tables["coil"].defined[3]
    word = image.get("holding", 20)[0]
    assert word & 0xFF
    assert word >> 8


@pytest.mark.parametrize(("gap", "code"), [(0, 0x83), (3, 0x03)])
def test_holes_refuse_unless_they_may_be_read(gap: int, code: int) -> None:
    units = _units(max_gap=gap, tags={"a": {"address": "holding:0"}, "b": {"address": "holding:4"}})
    assert units.images[1].answer(bytes((3, 0, 0, 0, 5)))[0] == code


def test_what_a_client_wrote_stays() -> None:
    units = _units(
        tags={"set": {"address": "holding:0", "type": "uint16", "write": {}}, "other": {"address": "holding:1"}}
    )
    image = units.images[1]
    assert image.answer(bytes((6, 0, 0, 0x12, 0x34)))[0] == 6
    assert image.answer(bytes((6, 0, 1, 0, 1)))[0] == 0x86
    units.refresh(100.0)
    assert image.get("holding", 0) == [0x1234]
