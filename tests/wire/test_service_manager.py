"""What the daemon tells its service manager, and when: the whole daemon, its messages in the order they came."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.app.serve import serve
from gateway.config import load
from gateway.runtime import systemd
from gateway.runtime.logs import Logs
from gateway.runtime.systemd import Notifier
from gateway.spool.keeper import Keeper
from gateway.spool.schema import Changes
from gateway.spool.writer import Writer
from tests.fakes.counting_plc import CountingPlc
from tests.fakes.gateway import GatewayProcess
from tests.fakes.mosquitto import free_port
from tests.fakes.waiting import until

EXTEND = "EXTEND_TIMEOUT_USEC=30000000"
CONFIG = """
gateway: {{name: cell}}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {plc}
    devices:
      press: {{unit: 1, every: 50ms, tags: {{count: {{address: holding:0, type: uint32}}}}}}
spool: {{path: {folder}/spool.db}}
upstreams: {{plant: {{broker: "mqtt://127.0.0.1:{broker}"}}}}
shutdown_timeout: 100ms
status: {{listen: none}}
"""


def configure(folder: Path, plc: int) -> Path:
    """A daemon whose broker never answers."""
    file = folder / "gateway.yaml"
    file.write_text(CONFIG.format(plc=plc, folder=folder, broker=free_port()))
    return file


@pytest.fixture
async def plc() -> AsyncIterator[int]:
    async with CountingPlc() as started:
        yield started.port


async def test_a_refused_reload_is_over_for_the_service_manager_too(tmp_path: Path, plc: int) -> None:
    file = configure(tmp_path, plc)
    async with GatewayProcess(file) as daemon:
        await daemon.ready()
        right = file.read_text()
        for text in (right.replace("unit: 1", "unit: one"), right.replace("broker:", "brokr:"), right):
            told = len(daemon.notified)
            file.write_text(text)
            daemon.send(signal.SIGHUP)
            await until(lambda told=told: "READY=1" in daemon.notified[told:])  # type: ignore[misc]  # bound now
            reload = [message for message in daemon.notified[told:] if not message.startswith("STATUS=")]
            assert [message.partition("\n")[0] for message in reload] == ["RELOADING=1", "READY=1"]
            assert "\nMONOTONIC_USEC=" in reload[0]
        file.unlink()
        daemon.send(signal.SIGHUP)
        await until(lambda: daemon.notified.count("READY=1") == 5)
        assert await daemon.end() == 0


@asynccontextmanager
async def serving(file: Path) -> AsyncIterator[list[str]]:
    """The daemon in this loop, told to stop at the end; what it tells its service manager."""
    told: list[str] = []
    daemon = asyncio.create_task(serve(load(file), Logs(logging.NullHandler()), Notifier(told.append, None)))
    try:
        yield told
    finally:
        if not daemon.done():
            daemon.cancel()
        await asyncio.wait([daemon])


async def test_patience_is_asked_for_while_the_spool_recovers(
    tmp_path: Path, plc: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recovered, opening = asyncio.Event(), Writer.open

    async def slow(writer: Writer) -> None:
        await recovered.wait()
        await opening(writer)

    monkeypatch.setattr(Writer, "open", slow)
    monkeypatch.setattr(systemd, "EXTEND_EVERY_S", 0.05)
    async with serving(configure(tmp_path, plc)) as told:
        await until(lambda: told.count(EXTEND) >= 3)
        assert set(told) == {EXTEND}
        recovered.set()
        await until(lambda: "READY=1" in told)
        assert told[-1] == "READY=1"  # from here on nobody asks any more


async def test_patience_is_asked_for_while_the_daemon_drains_and_closes(
    tmp_path: Path, plc: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    closes, closed, closing = asyncio.Event(), asyncio.Event(), Keeper.close

    async def slow(keeper: Keeper, last: Changes | None) -> None:
        closes.set()
        await closed.wait()
        await closing(keeper, last)

    monkeypatch.setattr(systemd, "EXTEND_EVERY_S", 0.05)
    async with serving(configure(tmp_path, plc)) as told:
        await until(lambda: "READY=1" in told)
        monkeypatch.setattr(Keeper, "close", slow)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(closes.is_set)
        assert told[told.index("STOPPING=1") + 1] == EXTEND
        before = told.count(EXTEND)
        await until(lambda: told.count(EXTEND) >= before + 3)
        closed.set()
