from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gateway.errors import GatewayError
from gateway.runtime.control import Caller, ControlServer, Params
from gateway.runtime.status.server import StatusServer
from gateway.runtime.status.settings import StatusSettings
from gateway.tools.status import show, show_status
from tests.fakes.mosquitto import free_port
from tests.fakes.status import FakePlant
from tests.fakes.waiting import until

TOKEN = "a-token-of-good-length"  # noqa: S105  # a test's token


@pytest.fixture
def plant() -> FakePlant:
    plant = FakePlant()
    plant.move(0)
    plant.incident()
    return plant


async def shown(call: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> str:
    await asyncio.to_thread(call)
    return capsys.readouterr().out


async def test_by_address(plant: FakePlant, capsys: pytest.CaptureFixture[str]) -> None:
    async with StatusServer(StatusSettings(listen="127.0.0.1:0"), plant.view) as server:
        assert server.address is not None
        url = server.address.url
        text = await shown(lambda: show_status(url), capsys)
        assert "welding-cell-3" in text
        assert "meter-2" in text
        everything = json.loads(await shown(lambda: show_status(url, as_json=True), capsys))
    assert everything["health"]["devices"]["meter-2"]["up"] is False
    assert everything["losses"]["total"] == {"missed_tick": 14}


async def test_by_control_socket(plant: FakePlant, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view = plant.view

    async def status(_: Params, __: Caller) -> Any:
        parts = {"devices": view.devices(), "upstreams": view.upstreams(), "losses": view.losses()}
        return {"health": view.health(), **parts, "events": view.events()}

    path = tmp_path / "control.sock"
    async with ControlServer(path, {"status": status}):
        everything = json.loads(await shown(lambda: show_status(path, as_json=True), capsys))
    assert everything["health"]["gateway"] == "welding-cell-3"


async def test_live_it_waits_for_a_daemon_that_restarts(plant: FakePlant) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, height=24)

    async def drawn(words: str) -> None:
        """The words stand on a screen drawn from now on."""
        screen.seek(0)
        screen.truncate()
        await until(lambda: words in screen.getvalue())

    async with StatusServer(StatusSettings(listen="127.0.0.1:0"), plant.view) as server:
        assert server.address is not None
        address = server.address
        watching = asyncio.create_task(show(address.url, console=console))
        await drawn("needs attention")
    await drawn("no answer for")
    assert "needs attention" not in screen.getvalue()
    async with StatusServer(StatusSettings(listen=f"127.0.0.1:{address.port}"), plant.view):
        await drawn("needs attention")
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


async def test_a_token_from_a_file(plant: FakePlant, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    settings = StatusSettings.model_validate({"listen": "127.0.0.1:0", "token": {"file": file}})
    async with StatusServer(settings, plant.view) as server:
        assert server.address is not None
        url = server.address.url
        with pytest.raises(GatewayError, match="asks for its token"):
            await asyncio.to_thread(show_status, url)
        assert "welding-cell-3" in await shown(lambda: show_status(url, file), capsys)


async def test_nobody_there() -> None:
    for target, why in (
        ("gateway.plant.local", "expected http"),
        ("http://[bad", "expected http"),
        ("http://127.0.0.1:99999", "expected http"),
        (f"http://127.0.0.1:{free_port()}", "can't be asked: connection refused$"),
    ):
        with pytest.raises(GatewayError, match=why):
            await asyncio.to_thread(show_status, target)
