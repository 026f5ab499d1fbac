"""The demo's configuration: where the file is, and how its addresses become those of the simulated plant."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML


@dataclass(frozen=True)
class Wiring:
    """Where the simulated things are: what replaces the addresses of the file."""

    press_port: int
    meter: str  # device file
    scale: str  # device file
    robot: str  # endpoint
    broker_port: int
    status_port: int
    spool: Path


def find() -> str:
    """The text of config/demo.yaml, which is part of the package too; FileNotFoundError where it was left out."""
    return resources.files("gateway.tools").joinpath("demo.yaml").read_text(encoding="utf-8")


def usual_ports(text: str) -> tuple[int, int, int]:
    """The ports the file names for the press PLC, the broker and the status page."""
    document = _yaml().load(text)
    press = next(bus["port"] for bus in document["connections"].values() if bus["driver"] == "modbus-tcp")
    broker = urlsplit(next(iter(document["upstreams"].values()))["broker"]).port or 1883
    status = int(document["status"]["listen"].rpartition(":")[2])
    return int(press), broker, status


def render(text: str, wiring: Wiring) -> str:
    """The file with every address replaced, comments kept. A pseudo terminal knows no parity, so that is left out."""
    yaml = _yaml()
    document = yaml.load(text)
    for connection in document["connections"].values():
        _rewire(connection, wiring)
    for upstream in document["upstreams"].values():
        upstream["broker"] = f"mqtt://127.0.0.1:{wiring.broker_port}"
    document["status"] = {"listen": f"127.0.0.1:{wiring.status_port}"}
    document["spool"] = {**document.get("spool", {}), "path": str(wiring.spool)}
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def _rewire(connection: dict[str, Any], wiring: Wiring) -> None:
    new: Mapping[str, Mapping[str, Any]] = {
        "modbus-tcp": {"host": "127.0.0.1", "port": wiring.press_port},
        "modbus-rtu": {"port": wiring.meter, "parity": "none"},
        "opcua": {"endpoint": wiring.robot},
        "line": {"port": wiring.scale},
    }
    connection.update(new[connection["driver"]])


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 4096
    return yaml
