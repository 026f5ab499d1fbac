from __future__ import annotations

from pathlib import Path

import pytest

from gateway.tools.columns import aligned
from gateway.tools.tags import print_tags

NAME = "cooling_water_inlet_temperature_of_the_left_electrode"
MANY = f"""
gateway: {{name: cell}}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    devices: {{a-device-with-a-name-that-is-rather-long: {{tags: {{{NAME}: {{address: holding:0, type: int16}}}}}}}}
upstreams: {{plant: {{broker: mqtt://127.0.0.1}}}}
"""


def test_columns_line_up_and_nothing_trails() -> None:
    rows = [("press.x", "9", ""), ("a", "1204", "yes")]
    assert list(aligned(("tag", "polls", "write"), rows, {"polls"})) == [
        "tag      polls  write",
        "press.x      9",
        "a         1204  yes",
    ]
    assert list(aligned(("tag", "polls"), [])) == ["tag  polls"]


def test_a_tag_is_one_line_however_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(MANY)
    print_tags(file, as_json=False)
    _, line = capsys.readouterr().out.splitlines()
    name = f"a-device-with-a-name-that-is-rather-long.{NAME}"
    assert line.split() == [name, "holding:0", "(40001)", "int16", "1s"]
