from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
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


def test_changed_steps_of_a_tag_touch_no_bus() -> None:
    found = after("profile: analog}}}", "steps: [{deadband: {absolute: 1}}]}}}")
    assert found == Changes()  # the same steps, written elsewhere
    found = after("profile: analog}}}", "steps: [{on-change: {}}], alarm: {high: 5}}}}")
    assert found == Changes(devices=("press",))


def test_derived_tags_are_named_by_what_their_steps_are() -> None:
    text = TEXT + 'derived: {tags: {p: {expression: "press.a * 2", profile: analog}}}\n'
    more = text.replace("absolute: 1", "absolute: 2")
    assert changes(configuration(text), configuration(more)).devices == ("press", "derived")
    assert changes(configuration(TEXT), configuration(text)).devices == ("derived",)


def test_what_was_renewed_on_the_disk_is_opened_anew(tmp_path: Path) -> None:
    secret, token, pin = (tmp_path / name for name in ("secret", "token", "server.der"))
    for file in (secret, token, pin):
        file.write_text("first")
        file.chmod(0o600)
    security = f"{{certificate: {secret}, private_key: {secret}, server_certificate: {pin}}}"
    robot = f"endpoint: opc.tcp://h, security: {security}, devices: {{d: {{tags: {{a: {{node: i=1}}}}}}}}"
    text = TEXT.replace('127.0.0.1"}', f'127.0.0.1", username: u, password: {{file: {secret}}}}}')
    text = text.replace("  two: {", f"  robot: {{driver: opcua, {robot}}}\n  two: {{")
    text += f"status: {{token: {{file: {token}}}}}\n"
    first = configuration(text)
    assert changes(first, configuration(text)) == Changes()
    token.write_text("second")
    second = configuration(text)
    assert changes(first, second) == Changes(status=True)
    pin.write_text("second")
    third = configuration(text)
    assert changes(second, third) == Changes(("robot",), ("robot",), devices=("d",))
    secret.write_text("second")
    found = changes(third, configuration(text))
    assert (found.upstreams, found.buses_started, found.devices) == (("plant",), ("robot",), ("d",))


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


Device = tuple[str, int, int, int]  # connection, unit, interval, deadband
Upstream = tuple[int, str]  # port, format
DEVICES = st.dictionaries(
    st.sampled_from(["d1", "d2", "d3", "d4"]),
    st.tuples(st.sampled_from(["one", "two"]), st.integers(1, 3), st.sampled_from([100, 200]), st.integers(1, 2)),
    min_size=1,
)
UPSTREAMS = st.dictionaries(
    st.sampled_from(["u1", "u2", "u3"]),
    st.tuples(st.sampled_from([1883, 1884]), st.sampled_from(["json", "columns"])),
    min_size=1,
)


def plant(devices: dict[str, Device], upstreams: dict[str, Upstream]) -> str:
    lines = ["gateway: {name: cell}", "upstreams:"]
    lines += [f'  {name}: {{broker: "mqtt://127.0.0.1:{u[0]}", format: {u[1]}}}' for name, u in upstreams.items()]
    lines.append("connections:")
    for number, bus in enumerate(("one", "two")):
        mine = {name: device for name, device in devices.items() if device[0] == bus}
        if mine:
            lines += [f"  {bus}:", "    driver: modbus-tcp", f"    host: 127.0.0.{number + 1}", "    devices:"]
        for name, (_, unit, every, band) in mine.items():
            tag = f"{{address: holding:0, type: int16, steps: [{{deadband: {{absolute: {band}}}}}]}}"
            lines.append(f"      {name}: {{unit: {unit}, every: {every}ms, tags: {{a: {tag}}}}}")
    return "\n".join(lines)


@settings(deadline=None)  # a busy machine
@given(DEVICES, DEVICES, UPSTREAMS, UPSTREAMS)
def test_what_is_the_same_in_both_is_named_by_no_change(
    old: dict[str, Device], new: dict[str, Device], sent: dict[str, Upstream], sends: dict[str, Upstream]
) -> None:
    before, later = configuration(plant(old, sent)), configuration(plant(new, sends))
    found = changes(before, later)
    assert set(found.devices) == {name for name in {**old, **new} if old.get(name) != new.get(name)}
    assert set(found.upstreams) == {name for name in {**sent, **sends} if sent.get(name) != sends.get(name)}
    assert set(found.upstreams_stopped) == {name for name in sent if sent[name] != sends.get(name)}
    assert set(found.upstreams_started) == {name for name in sends if sends[name] != sent.get(name)}
    for bus in ("one", "two"):
        was, now = ({n: d[1:3] for n, d in each.items() if d[0] == bus} for each in (old, new))
        assert (bus in found.buses_replanned) == bool(was and now and was != now)
    running = (set(before.buses) - set(found.buses_stopped)) | set(found.buses_started)
    assert running == set(later.buses)
    assert not set(found.buses_stopped) & {bus for bus in before.buses if bus in later.buses}  # their hosts are equal
