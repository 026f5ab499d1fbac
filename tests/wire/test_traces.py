"""Frames of one device, switched on at run time: for people at the machine, and for the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.runtime.control import ControlError, call, stream
from tests.fakes.counting_plc import CountingPlc
from tests.fakes.gateway import GatewayProcess
from tests.fakes.waiting import until

CONFIG = """
gateway: {{name: cell}}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {plc}
    devices:
      press: {{unit: 1, every: 50ms, tags: {{count: {{address: holding:0, type: uint32}}}}}}
      other: {{unit: 2, every: 50ms, tags: {{count: {{address: holding:0, type: uint32}}}}}}
spool: {{path: {folder}/spool.db}}
upstreams: {{plant: {{broker: "mqtt://127.0.0.1:9"}}}}
status: {{listen: none}}
shutdown_timeout: 200ms
{log}
"""


@pytest.fixture
async def plc() -> AsyncIterator[CountingPlc]:
    async with CountingPlc() as started:
        yield started


def configure(folder: Path, plc: CountingPlc, log: str = "") -> Path:
    file = folder / "gateway.yaml"
    file.write_text(CONFIG.format(plc=plc.port, folder=folder, log=log))
    return file


async def test_two_watch_one_device_and_neither_ends_the_other(tmp_path: Path, plc: CountingPlc) -> None:
    socket = tmp_path / "control.sock"
    async with GatewayProcess(configure(tmp_path, plc)) as daemon:
        await daemon.ready()
        first, second = (stream(socket, "trace", {"device": "press"}) for _ in range(2))
        for frames in (first, second):
            assert "00 06 01 03 00 00 00 02" in await anext(frames)
        await first.aclose()  # type: ignore[attr-defined]  # an async generator, as documented
        for _ in range(20):
            assert " 01 03 " in await anext(second)  # never a frame of unit 2
        await second.aclose()  # type: ignore[attr-defined]
        with pytest.raises(ControlError, match="no device 'nobody'"):
            await anext(stream(socket, "trace", {"device": "nobody"}))
        assert await daemon.end() == 0


async def test_a_device_at_debug_has_its_frames_in_the_log(tmp_path: Path, plc: CountingPlc) -> None:
    file = configure(tmp_path, plc, "log: {devices: {press: debug}}")
    async with GatewayProcess(file) as daemon:
        await daemon.ready()
        await until(lambda: daemon.log.count("DEBUG   press: ") > 5)
        assert "DEBUG   other" not in daemon.log
        configure(tmp_path, plc)
        assert (await call(tmp_path / "control.sock", "reload"))["result"] == "applied"
        seen, reads = daemon.log.count("DEBUG   press: "), plc.reads
        await until(lambda: plc.reads > reads + 20)
        assert daemon.log.count("DEBUG   press: ") <= seen + 1
        assert await daemon.end() == 0
