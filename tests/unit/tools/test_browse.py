from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from gateway.field.opcua.settings import OpcuaConnection
from gateway.tools.browse_report import Variable, names, to_json, to_yaml, wanted

CURRENT = Variable(("Weld", "Current"), "ns=2;s=Weld.Current", "Double", writable=True, value="185.2")
SPEEDS = Variable(("Drive", "Speeds"), "ns=2;s=Drive.Speeds", "Float", array=True)
PROGRAM = Variable(("Weld", "Program"), 'ns=2;s=Weld."Program" # 1', "String")


@pytest.mark.parametrize(
    ("pattern", "hit"),
    [
        (None, True),
        ("weld", True),
        ("WELD/*", True),
        ("ns=2;s=*.current", True),
        ("*/speed*", False),
        ("s=drive", False),
    ],
)
def test_filter_takes_paths_and_node_ids(pattern: str | None, hit: bool) -> None:
    assert wanted(CURRENT, pattern) is hit


def test_names_are_unique_and_valid() -> None:
    variables = [
        Variable(("A", "Temp °C"), "i=1", "Double"),
        Variable(("B", "Temp °C"), "i=2", "Double"),
        Variable(("B", "Temp °C"), "i=3", "Double"),
        Variable(("B", "Temp °C"), "i=4", "Double"),
        Variable(("§",), "i=5", "Double"),
        Variable(("x" * 90,), "i=6", "Double"),
    ]
    assert names(variables) == ["Temp_C", "B_Temp_C", "B_Temp_C_2", "B_Temp_C_3", "tag_2", "x" * 64]


def test_the_yaml_is_a_valid_connection() -> None:
    text = to_yaml("opc.tcp://10.0.0.7:4840", [CURRENT, SPEEDS, PROGRAM])
    settings = OpcuaConnection.model_validate(YAML(typ="safe").load(text)["connections"]["opcua-server"])
    tags = settings.devices["opcua-device"].tags
    assert {name: (tag.node, tag.type) for name, tag in tags.items()} == {
        "Current": ("ns=2;s=Weld.Current", "float64"),
        "Program": ('ns=2;s=Weld."Program" # 1', "string"),
    }
    assert "# array of Float: ns=2;s=Drive.Speeds" in text
    assert "Weld/Current, writable, now 185.2" in text


def test_a_server_can_not_write_into_the_configuration() -> None:
    evil = "x\nupstreams: {theirs: {broker: mqtt://evil}}\r\x85\u2028\x1b[2J"
    variables = [
        Variable((evil,), f"ns=2;s={evil}", evil, array=True),
        Variable((evil,), f"ns=2;s={evil}", "Double", value=evil),
    ]
    text = to_yaml("opc.tcp://10.0.0.7:4840", variables)
    assert len(text.splitlines()) == 9
    assert text.replace("\n", "").isprintable()
    assert set(YAML(typ="safe").load(text)) == {"connections"}


def test_json_has_everything() -> None:
    report = to_json("opc.tcp://h", [CURRENT, SPEEDS])
    assert report["variables"][0] == {
        "name": "Current", "path": ["Weld", "Current"], "node": "ns=2;s=Weld.Current", "data_type": "Double",
        "array": False, "type": "float64", "writable": True, "value": "185.2",
    }  # fmt: skip
    assert report["variables"][1]["type"] is None
