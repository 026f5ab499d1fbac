"""Backup, restore and reset: the state folder is all there is to keep, and all there is to throw away."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from gateway.runtime.audit import verify
from gateway.runtime.control import call
from tests.fakes.counting_plc import CountingPlc
from tests.fakes.gateway import GatewayProcess
from tests.fakes.mosquitto import Collector, Mosquitto
from tests.fakes.waiting import until

CONFIG = """
gateway: {{name: cell}}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {plc}
    devices:
      press:
        unit: 1
        every: 50ms
        tags:
          count: {{address: holding:0, type: uint32}}
          setpoint: {{address: holding:30, type: int16, write: {{}}}}
spool: {{path: {state}/spool.db, seal: {{max_age: 100ms}}, commit_interval: 200ms}}
upstreams: {{plant: {{broker: "{broker}", commands: true}}}}
status: {{listen: none}}
shutdown_timeout: 200ms
"""


def configure(folder: Path, state: Path, plc: CountingPlc, broker: Mosquitto) -> Path:
    state.mkdir(exist_ok=True)
    file = folder / "gateway.yaml"
    file.write_text(CONFIG.format(plc=plc.port, state=state, broker=broker.url))
    return file


def counts(received: Collector) -> set[int]:
    bodies: list[dict[str, Any]] = [json.loads(body) for body in received.payloads("cell/press/data")]
    return {
        reading["value"]
        for body in bodies
        for reading in body["readings"]
        if reading["tag"] == "count" and reading["quality"] == "good"
    }


async def test_a_restored_copy_delivers_what_waited_and_a_reset_starts_anew(tmp_path: Path) -> None:
    state, backup, other = (tmp_path / name for name in ("state", "backup", "other"))
    broker = Mosquitto(tmp_path)  # not started: what is polled waits
    async with CountingPlc() as plc:
        async with GatewayProcess(configure(tmp_path, state, plc, broker), "first") as daemon:
            await daemon.ready()
            await until(lambda: plc.reads > 30)
            assert (await call(state / "control.sock", "write", {"tag": "press.setpoint", "value": 7}))[
                "status"
            ] == "ok"
            assert await daemon.end() == 0
        waited = set(range(1, plc.reads))
        shutil.copytree(state, backup)
        shutil.rmtree(state)  # as `systemctl clean --what=state` does
        async with GatewayProcess(configure(tmp_path, state, plc, broker), "reset") as daemon:
            await daemon.ready()
            before = plc.reads
            await until(lambda: plc.reads > before + 5)
            assert await daemon.end() == 0
        assert verify(state / "audit.log").records == 2  # its own start and stop
        shutil.copytree(backup, other)
        with broker, Collector(broker.port, "cell/#") as received:
            async with GatewayProcess(configure(tmp_path, other, plc, broker), "restored") as daemon:
                await daemon.ready()
                await until(lambda: waited <= counts(received), 40)
                assert await daemon.end() == 0
        verdict = verify(other / "audit.log")
        assert verdict.fault == ""
        assert verdict.records > verify(backup / "audit.log").records
    assert "Traceback" not in daemon.log
