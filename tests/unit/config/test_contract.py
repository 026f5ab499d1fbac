"""The contract's example: its defaults, and faults planted into it, which are all found at once where they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import load_text
from gateway.errors import ConfigError

EXAMPLE = (Path(__file__).parents[2] / "cases/contract_example/gateway.yaml").read_text(encoding="utf-8")
PRESS = "connections.press-plc.devices.press"

# What is written, what is planted instead, and the path of the error. Each on a line of its own.
FAULTS = [
    ("name: welding-cell-3 ", "name: welding cell ", "gateway.name"),
    ("area: welding", "aera: welding", "gateway.site.aera"),
    ("latitude: 38.31", "latitude: 138.31", "gateway.location.latitude"),
    ("defaults: {every: 1s}", "defaults: {every: 1}", "defaults.every"),
    ("sigmas: 3}", "sigma: 3}", "profiles.analog.0.spike.sigma"),
    ("deviation: 0.5", "deviation: -0.5", "profiles.analog.1.swinging-door.deviation"),
    ("driver: modbus-tcp  ", "driver: modbus-tpc  ", "connections.press-plc.driver"),
    ("port: 502 ", "port: 65536 ", "connections.press-plc.port"),
    ("every: 500ms\n        tags", "every: 500mss\n        tags", f"{PRESS}.every"),
    ("order: CDAB,", "order: GHEFCDAB,", f"{PRESS}.tags.temperature.order"),
    ("address: coil:3,", "address: coil:70000,", f"{PRESS}.tags.running.address"),
    ("{deadband: {absolute: 2}}", "{deadband: {percent: 2}}", f"{PRESS}.tags.speed.steps.0"),
    ("write: {min: 0, max: 1500}", "write: {min: 0, max: on}", f"{PRESS}.tags.setpoint.write.max"),
    ("count: 8, scale: 0.1}", "count: 8, scale: 0}", f"{PRESS}.tags.zones.scale"),
    ("holding:140.3, type: bool", "holding:140.3, type: int8", f"{PRESS}.tags.fault.type"),
    ("length: 16}", "length: 16, order: ABCD}", f"{PRESS}.tags.batch_id.order"),
    ("parity: even", "parity: evn", "connections.meters.parity"),
    ("meter-1: {unit: 1,", "meter-1: {unit: 0,", "connections.meters.devices.meter-1.unit"),
    ("      meter-2:", "      events:", "connections.meters.devices.events"),
    ("username: gateway", "usrname: gateway", "connections.robot.usrname"),
    ('node: "ns=2;s=Weld.Program"', 'node: "ns=2"', "connections.robot.devices.welder.tags.program.node"),
    ("mode: subscribe", "mode: listen", "connections.robot.devices.welder.mode"),
    ("checksum: none ", "checksum: crc ", "connections.scale.devices.scale.checksum"),
    ("weight: {field: weight,", "weight: {field: weigth,", "connections.scale.devices.scale.tags.weight.field"),
    ("commit_interval: 1s ", "commit_interval: 0s ", "spool.commit_interval"),
    ("max_size: 1GiB", "max_size: 1GB", "spool.max_size"),
    ("when_full: drop-oldest", "when_full: drop", "spool.when_full"),
    ("password: {file: /etc/gateway/secrets/mqtt}", "password: hunter2", "upstreams.plant.password"),
    ("{area}/{line}/{device}", "{area}/{lane}/{device}", "upstreams.plant.topic"),
    ("window: 100 ", "window: 0 ", "upstreams.plant.window"),
    ("commands: true ", "commands: yes ", "upstreams.plant.commands"),
    ("broker: mqtts://iot", "broker: mqtt://iot", "upstreams.cloud.broker"),
    ("sparkplug: {group: cangzhou,", "sparkplug: {group: a/b,", "upstreams.cloud.sparkplug.group"),
    ("listen: 127.0.0.1:8080", "listen: 0.0.0.0:8080", "status.listen"),
    ("shutdown_timeout: 10s", "shutdown_timeout: -10s", "shutdown_timeout"),
    ("log: {level: info}", "log: {level: info, devices: {prss: debug}}", "log.devices.prss"),
]
# Below a driver that nobody knows nothing can be checked; a tag is read only where its device is.
DRIVER = FAULTS.index(("driver: modbus-tcp  ", "driver: modbus-tpc  ", "connections.press-plc.driver"))


def planted(text: str, fault: tuple[str, str, str]) -> str:
    assert text.count(fault[0]) == 1, fault[0]
    return text.replace(fault[0], fault[1])


def found(text: str) -> list[tuple[str, int]]:
    with pytest.raises(ConfigError) as error:
        load_text(text, Path("gateway.yaml"))
    return [(finding.path, finding.line) for finding in error.value.findings]


def line_of(fault: tuple[str, str, str]) -> int:
    return EXAMPLE[: EXAMPLE.index(fault[0])].count("\n") + 1 + (fault[0].startswith("\n"))


@settings(deadline=None, max_examples=40)
@given(st.sets(st.integers(0, len(FAULTS) - 1), min_size=1))
def test_every_planted_fault_is_found_at_its_line_and_no_other(numbers: set[int]) -> None:
    text = EXAMPLE
    for number in numbers:
        text = planted(text, FAULTS[number])
    if DRIVER in numbers:
        numbers = {n for n in numbers if n == DRIVER or not FAULTS[n][2].startswith("connections.press-plc.")}
    assert sorted(found(text)) == sorted((FAULTS[n][2], line_of(FAULTS[n])) for n in numbers)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault[2] for fault in FAULTS])
def test_each_alone(fault: tuple[str, str, str]) -> None:
    assert found(planted(EXAMPLE, fault)) == [(fault[2], line_of(fault))]


def test_all_at_once() -> None:
    text = EXAMPLE
    for number, fault in enumerate(FAULTS):
        text = text if number == DRIVER else planted(text, fault)
    assert len(found(text)) == len(FAULTS) - 1


def test_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = """
gateway: {name: cell}
connections:
  plc: {driver: modbus-tcp, host: h, devices: {press: {tags: {a: {address: holding:0}}}}}
  ua: {driver: opcua, endpoint: opc.tcp://h, devices: {welder: {tags: {a: {node: i=1}}}}}
upstreams: {plant: {broker: mqtts://h}}
"""
    configuration = load_text(text, Path("gateway.yaml"))
    root = configuration.root
    upstream: Any = root.upstreams["plant"]
    assert (upstream.protocol, upstream.format, upstream.window, upstream.commands) == ("5", "json", 100, False)
    assert (upstream.keepalive, upstream.ack_timeout, upstream.max_message) == (20, 20, 64 << 10)
    assert (upstream.time_unit, upstream.compress, upstream.insecure, upstream.tls) == ("ms", "none", False, None)
    assert upstream.topic == "{gateway}/{device}"
    assert (root.status.listen, root.shutdown_timeout, root.log.level) == ("127.0.0.1:8080", 10, "info")
    assert (root.spool.commit_interval, root.spool.max_size, root.spool.max_age) == (1, 1 << 30, 30 * 86400)
    assert (root.spool.when_full, root.spool.drain) == ("drop-oldest", "oldest-first")
    plc: Any = configuration.buses["plc"].settings
    device = plc.devices["press"]
    assert (plc.port, device.max_registers, device.max_coils, device.max_gap) == (502, 125, 2000, 0)
    assert (device.max_in_flight, device.write_single, device.pause) == (1, False, None)
    assert configuration.buses["plc"].every == {"press": 1}
    welder: Any = configuration.buses["ua"].settings.devices["welder"]
    assert (welder.mode, welder.publish, welder.history) == ("subscribe", 0.25, False)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert root.spool.place("cell") == tmp_path / "spool.db"
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert root.spool.place("cell") == tmp_path / ".local/state/gateway/cell/spool.db"
