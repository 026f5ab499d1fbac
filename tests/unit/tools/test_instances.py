from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.tools.instances import conflicts, main


def configuration(name: str, listen: str = "127.0.0.1:8080", spool: str = "", port: Any = 502) -> dict[str, Any]:
    data: dict[str, Any] = {
        "gateway": {"name": name},
        "status": {"listen": listen},
        "connections": {"a": {"port": port}},
    }
    if spool:
        data["spool"] = {"path": spool}
    return data


def test_separate_instances() -> None:
    one = configuration("line1", "127.0.0.1:8081", "/var/lib/gateway/line1/spool.db", "/dev/ttyUSB0")
    two = configuration("line2", "127.0.0.1:8082", "/var/lib/gateway/line2/spool.db", "/dev/ttyUSB1")
    assert conflicts({"line1": one, "line2": two}) == []


def test_everything_two_instances_may_not_share() -> None:
    one = configuration("line", spool="/var/lib/gateway/spool.db", port="/dev/ttyUSB0")
    two = configuration("line", spool="/var/lib/gateway//spool.db", port="/dev/ttyUSB0")
    assert conflicts({"a.yaml": one, "b.yaml": two}) == [
        "gateway.name line stands in a.yaml and b.yaml",
        "status.listen 127.0.0.1:8080 stands in a.yaml and b.yaml",
        "spool.path /var/lib/gateway/spool.db stands in a.yaml and b.yaml",
        "serial port /dev/ttyUSB0 stands in a.yaml and b.yaml",
    ]


def test_a_serial_port_under_another_name_is_the_same_port(tmp_path: Path) -> None:
    (tmp_path / "ttyUSB0").touch()
    (tmp_path / "usb-FTDI-if00").symlink_to("ttyUSB0")
    one = configuration("a", "none", port=str(tmp_path / "ttyUSB0"))
    two = configuration("b", "none", port=str(tmp_path / "usb-FTDI-if00"))
    assert conflicts({"a": one, "b": two}) == [f"serial port {tmp_path}/ttyUSB0 stands in a and b"]


def test_the_same_plc_port_or_no_page_is_no_conflict() -> None:
    assert conflicts({"a": configuration("a", "none"), "b": configuration("b", "none")}) == []


def test_the_default_page_conflicts_with_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(f"gateway: {{name: {name}}}\nconnections: {{plc: {{host: 10.0.0.1}}}}\n")
    assert main([str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]) == 1
    assert "127.0.0.1:8080" in capsys.readouterr().err
    assert main([str(tmp_path / "a.yaml")]) == 0
