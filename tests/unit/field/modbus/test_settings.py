from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.field.modbus.settings import ModbusRtu, ModbusRtuTcp, ModbusTag, ModbusTcp
from gateway.field.modbus.timing import LineTiming, poll_s


def tag(**keys: Any) -> ModbusTag:
    return ModbusTag.model_validate(keys)


def rtu(every_tag: dict[str, Any], **keys: Any) -> ModbusRtu:
    device = {"unit": 1, "tags": {"a": every_tag}}
    return ModbusRtu.model_validate({"driver": "modbus-rtu", "port": "/dev/ttyS0", "devices": {"m": device}} | keys)


def tcp(device: dict[str, Any], **keys: Any) -> ModbusTcp:
    base = {"driver": "modbus-tcp", "host": "10.0.0.1"}
    return ModbusTcp.model_validate(base | {"devices": {"plc": device}} | keys)


ONE = {"address": "holding:1", "type": "uint16"}


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        ({"address": 1, "type": "bool"}, "must be quoted"),
        ({"address": "coil:1", "type": "int16"}, "type must be bool"),
        ({"address": "holding:1", "type": "bool"}, "needs its bit"),
        ({"address": "holding:1.2", "type": "int16"}, "a single bit is a bool"),
        ({"address": "holding:1.high", "type": "int16"}, "int8 or uint8"),
        ({"address": "holding:1", "type": "string"}, "length"),
        ({"address": "holding:1", "type": "int16", "length": 4}, "belongs to strings"),
        ({"address": "holding:1", "type": "int16", "encoding": "utf-8"}, "belongs to strings"),
        ({"address": "holding:1", "type": "string", "length": 251}, "less than or equal"),
        ({"address": "holding:1", "type": "float32", "order": "AB"}, "one of ABCD, CDAB, BADC, DCBA"),
        ({"address": "holding:1", "type": "float64", "order": "CDAB"}, 'did you mean "GHEFCDAB"'),
        ({"address": "holding:1", "type": "int8", "order": "BA"}, "does not fit int8"),
        ({"address": "holding:1", "type": "float32", "order": "ACBD"}, "Input should be"),
        ({"address": "holding:65535", "type": "float32"}, "addresses end at 65535"),
        ({"address": "holding:65530", "type": "int16", "count": 7}, "addresses end at 65535"),
        ({"address": "input:1", "type": "int16", "write": {}}, "only be read"),
        ({"address": "discrete:1", "write": {}}, "only be read"),
        ({"address": "holding:1", "write": {"min": 5, "max": 1}}, "min (5) is above max (1)"),
        ({"address": "holding:1", "range": {"min": 5, "max": 1}}, "min (5) is above max (1)"),
        ({"address": "holding:1", "scale": 0}, "scale of 0"),
        ({"address": "coil:1", "scale": 2}, "no meaning for bool"),
        ({"address": "holding:1.2", "count": 4}, "name each bit"),
        ({"address": "holding:1", "count": 0}, "greater than or equal"),
        ({"address": "holding:1", "adress": 1}, "Extra inputs"),
        ({"type": "int16"}, "Field required"),
    ],
)
def test_wrong_tags_say_why(keys: dict[str, Any], part: str) -> None:
    with pytest.raises(ValidationError) as caught:
        tag(**keys)
    assert part in str(caught.value)


def test_bits_are_bool_and_registers_uint16_where_nothing_is_said() -> None:
    assert tag(address="coil:1").type == "bool"
    assert tag(address="holding:1.4").type == "bool"
    assert tag(address="holding:1").type == "uint16"


def test_an_array_gives_one_tag_per_value() -> None:
    tags = tag(address="input:200", type="float32", count=3, scale=0.1, unit="degC").expand("press", "zones")
    assert [each.full_name for each in tags] == ["press.zones.0", "press.zones.1", "press.zones.2"]
    assert [each.address for each in tags] == ["input:200 (30201)", "input:202 (30203)", "input:204 (30205)"]
    assert {each.unit for each in tags} == {"degC"}


def test_a_single_tag_keeps_its_name_and_address() -> None:
    [one] = tag(address=40101, type="float32", range={"min": -40, "max": 400}, write={"max": 9}).expand("press", "t")
    assert (one.full_name, one.address, one.low, one.high) == ("press.t", "holding:100 (40101)", -40, 400)
    assert one.write is not None
    assert one.write.high == 9


@pytest.mark.parametrize(
    ("device", "type_", "order", "little", "swapped"),
    [
        ("CDAB", "float32", None, True, False),
        ("CDAB", "float64", None, True, False),
        ("DCBA", "int64", None, True, True),
        ("CDAB", "int16", None, False, False),
        ("BA", "int16", None, False, True),
        ("CDAB", "float32", "ABCD", False, False),
        ("BADC", "float32", None, False, True),
    ],
)
def test_the_devices_order_is_a_default(
    device: Any, type_: str, order: str | None, little: bool, swapped: bool
) -> None:
    made = tag(address="holding:1", type=type_, **({"order": order} if order else {})).layout(device)
    assert (made.little_words, made.swapped) == (little, swapped)


@pytest.mark.parametrize(
    ("model", "keys", "unit", "good"),
    [
        (ModbusTcp, {"driver": "modbus-tcp", "host": "h"}, 0, True),
        (ModbusTcp, {"driver": "modbus-tcp", "host": "h"}, 255, True),
        (ModbusTcp, {"driver": "modbus-tcp", "host": "h"}, 256, False),
        (ModbusRtuTcp, {"driver": "modbus-rtu-tcp", "host": "h"}, 247, True),
        (ModbusRtuTcp, {"driver": "modbus-rtu-tcp", "host": "h"}, 0, False),
        (ModbusRtu, {"driver": "modbus-rtu", "port": "/dev/ttyS0"}, 0, False),
        (ModbusRtu, {"driver": "modbus-rtu", "port": "/dev/ttyS0"}, 248, False),
        (ModbusRtu, {"driver": "modbus-rtu", "port": "/dev/ttyS0"}, 1, True),
    ],
)
def test_units(model: type[Any], keys: dict[str, Any], unit: int, good: bool) -> None:
    document = keys | {"devices": {"m": {"unit": unit, "tags": {"a": ONE}}}}
    if good:
        assert model.model_validate(document).devices["m"].unit == unit
    else:
        with pytest.raises(ValidationError):
            model.model_validate(document)


@pytest.mark.parametrize(
    ("device", "part"),
    [
        ({"tags": {"a": ONE}, "max_registers": 126}, "less than or equal to 125"),
        ({"tags": {"a": {"address": "holding:1", "type": "float64"}}, "max_registers": 3}, "takes 4 registers"),
        ({"tags": {"a": ONE}, "max_in_flight": 4, "pause": "5ms"}, "choose one"),
        ({"tags": {}}, "at least 1"),
        ({"tags": {"a": ONE}, "max_registres": 1}, "Extra inputs"),
    ],
)
def test_wrong_devices_say_why(device: dict[str, Any], part: str) -> None:
    with pytest.raises(ValidationError) as caught:
        tcp(device)
    assert part in str(caught.value)


def test_only_tcp_pipelines() -> None:
    with pytest.raises(ValidationError, match="max_in_flight"):
        ModbusRtu.model_validate(
            {
                "driver": "modbus-rtu",
                "port": "/dev/ttyS0",
                "devices": {"m": {"unit": 1, "max_in_flight": 2, "tags": {"a": ONE}}},
            }
        )


@pytest.mark.parametrize(("baudrate", "requests"), [(9600, 3.23), (19_200, 6.46), (115_200, 34.95)])
def test_line_times_are_those_of_the_literature(baudrate: int, requests: float) -> None:
    line = LineTiming.of(baudrate, 1, 1)
    assert 1 / line.exchange_s(255) == pytest.approx(requests, rel=0.01)


def test_a_gap_is_worth_reading_over_up_to_a_second_requests_price() -> None:
    assert [LineTiming.of(baud, 1, 1).worthwhile_gap() for baud in (9600, 19_200, 38_400, 115_200)] == [10, 10, 12, 24]


@pytest.mark.parametrize(("every", "level"), [(1.0, None), (0.4, "warning"), (0.2, "error")])
def test_an_overloaded_line_is_found_at_check(every: float, level: str | None) -> None:
    connection = rtu({"address": "holding:0", "type": "uint16", "count": 125}, baudrate=9600)
    found = connection.findings({"m": every})
    assert [entry[0] for entry in found] == ([level] if level else [])
    if level:
        assert "9600 baud" in found[0][2]


def test_pause_counts_towards_the_load() -> None:
    device = rtu(ONE).devices["m"]
    line = LineTiming.of(9600, 1, 1)
    assert poll_s(device.blocks(), line, 0.1) - poll_s(device.blocks(), line, 0.0) == pytest.approx(
        0.1 - line.silence_s
    )


def test_rs485_and_serial_defaults() -> None:
    connection = rtu(ONE, rs485=True)
    assert (connection.baudrate, connection.parity, connection.stopbits, connection.rs485) == (19_200, "even", 1, True)
