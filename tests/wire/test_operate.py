"""`gateway write` and `reload`: JSON for scripts on stdout, and on stderr why not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.__main__ import app
from gateway.runtime.control import Caller, ControlServer, Params

TAG = "press.setpoint"
CONFIGURATION = """
gateway: {name: cell}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    devices: {press: {tags: {setpoint: {address: holding:0, type: int16, write: {min: 0, max: 1500}}}}}
upstreams: {plant: {broker: mqtt://127.0.0.1}}
spool: {path: PATH}
"""


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[Path]:
    """A configuration, and a daemon that writes 900 only and refuses what it is told to reload."""

    async def write(params: Params, _: Caller) -> Any:
        fine = params["value"] == 900
        return {"tag": params["tag"], "status": "ok" if fine else "out_of_range"}

    async def reload(_: Params, __: Caller) -> Any:
        return {"result": "refused", "changed": {}, "errors": ["gateway.yaml:3:1: x: unknown key"]}

    path = tmp_path / "gateway.yaml"
    path.write_text(CONFIGURATION.replace("PATH", str(tmp_path / "spool.db")))
    async with ControlServer(tmp_path / "control.sock", {"write": write, "reload": reload}):
        yield path


async def told(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, list(words))


async def test_a_write_that_was_done(file: Path) -> None:
    result = await told("write", str(file), TAG, "900")
    assert (result.exit_code, result.stdout) == (0, '{"tag": "press.setpoint", "status": "ok"}\n')
    assert not result.stderr


async def test_a_write_that_was_not(file: Path) -> None:
    result = await told("write", str(file), TAG, "9000")
    assert (result.exit_code, result.stdout) == (1, '{"tag": "press.setpoint", "status": "out_of_range"}\n')
    assert result.stderr == "gateway: press.setpoint: out_of_range: beyond what write: or the tag's type allows\n"


async def test_a_reload_that_was_refused(file: Path) -> None:
    result = await told("reload", str(file))
    assert result.exit_code == 1
    assert '"result": "refused"' in result.stdout
    assert result.stderr == "gateway.yaml:3:1: x: unknown key\ngateway: reload refused, nothing changed\n"
