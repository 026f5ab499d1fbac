from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.app.changes import Changes, changes
from gateway.config import Configuration, load_text


def configuration(text: str) -> Configuration:
    return load_text(text, Path("gateway.yaml"))


TEXT = """
gateway: {name: cell}
profiles: {analog: [{deadband: {absolute: 1}}]}
connections:
  one:
    driver: modbus-tcp
    host: 127.0.0.1
    devices:
      press: {unit: 1, every: 100ms, tags: {a: {address: holding:0, type: int16, profile: analog}}}
      oven: {unit: 2, tags: {a: {address: holding:0, type: int16}}}
  two: {driver: modbus-rtu, port: /dev/ttyUSB0, devices: {meter: {unit: 1, tags: {a: {address: input:0, type: int16}}}}}
upstreams:
  plant: {broker: "mqtt://127.0.0.1"}
  cloud: {broker: "mqtt://127.0.0.1:1884"}
"""


def after(old: str, new: str) -> Changes:
    assert old in TEXT
    return changes(configuration(TEXT), configuration(TEXT.replace(old, new)))


def test_nothing_changed() -> None:
    assert changes(configuration(TEXT), configuration(TEXT)) == Changes()


def test_a_comment_and_another_order_of_keys_change_nothing() -> None:
    assert after("unit: 2, tags", "# a comment\n        unit: 2, tags") == Changes()


def test_a_changed_device_replans_its_bus_and_names_itself_only() -> None:
    found = after("every: 100ms", "every: 200ms")
    assert (found.buses_replanned, found.buses_stopped, found.buses_started) == (("one",), (), ())
    assert found.devices == ("press",)


def test_another_default_interval_changes_the_devices_that_use_it() -> None:
    found = after("gateway: {name: cell}", "gateway: {name: cell}\ndefaults: {every: 5s}")
    assert found.devices == ("oven", "meter")
    assert found.buses_replanned == ("one", "two")


def test_another_host_opens_the_bus_anew() -> None:
    found = after("host: 127.0.0.1", "host: 127.0.0.2")
    assert (found.buses_stopped, found.buses_started, found.buses_replanned) == (("one",), ("one",), ())
    assert found.devices == ("press", "oven")


def test_a_changed_profile_touches_no_bus() -> None:
    found = after("absolute: 1", "absolute: 2")
    assert found == Changes(devices=("press",))


def test_a_changed_upstream_is_opened_anew_and_touches_no_bus() -> None:
    found = after("1884", "1885")
    assert found == Changes(upstreams_stopped=("cloud",), upstreams_started=("cloud",))


def test_the_site_stands_in_every_topic_and_state() -> None:
    found = after("{name: cell}", "{name: cell, site: {line: a}}")
    assert found.upstreams == ("plant", "cloud")
    assert not found.devices


def test_what_needs_a_restart_is_refused() -> None:
    assert after("{name: cell}", "{name: other}").refused == ("gateway.name",)
    assert after("gateway:", "spool: {max_age: 1h}\ngateway:").refused == ("spool",)


DEVICES = st.dictionaries(
    st.sampled_from(["d1", "d2", "d3", "d4"]),
    st.tuples(st.sampled_from(["one", "two"]), st.integers(1, 3), st.sampled_from([100, 200])),
    min_size=1,
)


def plant(devices: dict[str, tuple[str, int, int]]) -> str:
    lines = ["gateway: {name: cell}", 'upstreams: {plant: {broker: "mqtt://127.0.0.1"}}', "connections:"]
    for number, bus in enumerate(("one", "two")):
        mine = {name: device for name, device in devices.items() if device[0] == bus}
        if mine:
            lines += [f"  {bus}:", "    driver: modbus-tcp", f"    host: 127.0.0.{number + 1}", "    devices:"]
        for name, (_, unit, every) in mine.items():
            lines.append(
                f"      {name}: {{unit: {unit}, every: {every}ms, tags: {{a: {{address: holding:0, type: int16}}}}}}"
            )
    return "\n".join(lines)


@given(DEVICES, DEVICES)
def test_a_device_that_is_the_same_in_both_is_named_by_no_change(
    old: dict[str, tuple[str, int, int]], new: dict[str, tuple[str, int, int]]
) -> None:
    before, later = configuration(plant(old)), configuration(plant(new))
    found = changes(before, later)
    assert set(found.devices) == {name for name in {**old, **new} if old.get(name) != new.get(name)}
    running = (set(before.buses) - set(found.buses_stopped)) | set(found.buses_started)
    assert running == set(later.buses)
    assert not set(found.buses_stopped) & {bus for bus in before.buses if bus in later.buses}  # their hosts are equal
