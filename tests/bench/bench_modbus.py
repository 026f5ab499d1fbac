"""Modbus against libmodbus in C: requests, CPU per request, lateness at 10,000 registers a second, the decoder alone.

python -m tests.bench.bench_modbus [--requests 20000] [--seconds 15] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gateway.field.contract import BusPlan, FieldContext, Loss
from gateway.field.health import Health
from gateway.field.modbus import MODBUS_TCP, pdu
from gateway.field.modbus.device import Device, places
from gateway.field.modbus.mbap import open_tcp
from gateway.field.modbus.session import Session
from gateway.field.modbus.source import ModbusSource
from gateway.field.modbus.station import ModbusStation
from gateway.field.modbus.wire import Request, Wire
from gateway.readings import Quality, Readings
from gateway.runtime.clock import Clock
from gateway.runtime.counters import Counters
from tests.fakes.modbus import SILENCE
from tests.fakes.modbus_rig import Rig, counting
from tests.fakes.port import plan_of

REGISTERS = 10_000
BLOCK = 125


@dataclass
class Sink:
    """A pipeline that only counts, and looks how late each poll began."""

    counters: Counters = field(default_factory=Counters)
    rows: int = 0
    bad: int = 0
    lateness: list[float] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)

    def readings(self, readings: Readings) -> None:
        self.rows += len(readings)
        self.bad += int(np.count_nonzero(readings.quality))
        if self.names:
            self.lateness.append(self.counters.device(self.names[int(readings.tag[0])]).lateness)

    def loss(self, loss: Loss) -> None:
        self.bad += loss.count

    def link(self, device: str, online: bool, reason: str) -> None:
        """Not of interest."""


class Silent:
    """Nobody listens to frames."""

    tracing = False

    def late(self, unit: int, seconds: float, timeout_s: float) -> None:
        """Not of interest."""

    def frame(self, unit: int, what: str, data: bytes) -> None:
        """Not of interest."""


@contextmanager
def peer(folder: Path) -> Iterator[tuple[Path, int]]:
    """The compiled program and the port of its server."""
    program = folder / "modbus_peer"
    compiler = shutil.which("cc") or "gcc"
    source = Path(__file__).with_name("modbus_peer.c")
    subprocess.run([compiler, "-O2", "-o", str(program), str(source), "-lmodbus"], check=True)
    with subprocess.Popen([program, "serve"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield program, int(server.stdout.readline())
        finally:
            server.kill()


def plan(port: int, devices: int, every: float, in_flight: int) -> BusPlan:
    """`REGISTERS` registers spread over some devices."""
    each = REGISTERS // devices
    connection = MODBUS_TCP.connection.model_validate(
        {
            "driver": "modbus-tcp",
            "host": "127.0.0.1",
            "port": port,
            "devices": {
                f"d{number}": {
                    "unit": 1,
                    "max_in_flight": in_flight,
                    "tags": {"r": {"address": f"holding:{number * each}", "type": "uint16", "count": each}},
                }
                for number in range(devices)
            },
        }
    )
    return plan_of(connection, every)


async def opened(port: int, in_flight: int) -> Wire:
    """A link to the server."""
    return await open_tcp(plan(port, 1, 1.0, in_flight).connection, Silent())


async def requests(port: int, in_flight: int, count: int) -> dict[str, float]:
    """Bare requests of 125 registers."""
    wire = await opened(port, in_flight)
    asked = [Request(1, pdu.read(3, start, BLOCK), 5.0) for start in range(0, REGISTERS, BLOCK)]
    wall, cpu = time.perf_counter(), time.process_time()
    window = []
    for number in range(count):
        window.append(wire.start(asked[number % len(asked)]))
        if len(window) >= in_flight:
            await window.pop(0)
    for pending in window:
        await pending
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    wire.close()
    return {"requests_per_s": count / wall, "cpu_us": cpu / count * 1e6}


async def polls(port: int, in_flight: int, count: int) -> dict[str, float]:
    """Whole polls of 10,000 registers, decoded into columns, one after the other."""
    bus = plan(port, 1, 1.0, in_flight)
    context = FieldContext(Sink(), Clock(), Counters(), None)
    session = Session(lambda: opened(port, in_flight), reopens=True)
    device = Device("d0", bus.connection.devices["d0"], places(bus, "d0"), 5.0, None)
    station = ModbusStation(device, 1.0, session, context)

    async def no_writes() -> None:
        """Nobody writes."""

    rounds = max(1, count * BLOCK // REGISTERS)
    async with session.link():
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(rounds):
            poll = station.begin()
            assert await poll.attempt(no_writes)
            assert not poll.readings(Quality.BAD_LINK, 0).quality.any()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    asked = rounds * REGISTERS // BLOCK
    return {
        "requests_per_s": asked / wall,
        "cpu_us": cpu / asked * 1e6,
        "readings_per_s": rounds * REGISTERS / wall,
    }


async def grid(port: int, seconds: float) -> dict[str, float]:
    """10,000 registers a second on twenty devices of one connection."""
    bus = plan(port, 20, 1.0, 1)
    counters = Counters()
    sink = Sink(counters, names={index: tag.device for index, tag in enumerate(bus.table)})
    source = ModbusSource(bus, FieldContext(sink, Clock(), counters, None))
    cpu = time.process_time()
    task = asyncio.create_task(source.run())
    await asyncio.sleep(seconds)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    cpu = time.process_time() - cpu
    late = np.array(sink.lateness)
    assert sink.bad == 0
    return {
        "readings_per_s": sink.rows / seconds,
        "cpu_percent": 100 * cpu / seconds,
        "lateness_p50_ms": float(np.percentile(late, 50)) * 1e3,
        "lateness_p99_ms": float(np.percentile(late, 99)) * 1e3,
        "lateness_max_ms": float(late.max()) * 1e3,
    }


async def living(folder: Path, seconds: float, dead: int | None) -> int:
    """Good readings of seven units out of eight on a serial line that is busy all the time."""
    device = counting(*range(1, 9))
    device.behave = lambda unit, _pdu: SILENCE if unit == dead else None
    rig = Rig("rtu", folder, device, timeout="200ms")
    units = {f"m{unit}": {"unit": unit, "tags": {"r": {"address": "input:0", "count": 10}}} for unit in range(1, 9)}
    async with rig.running(units, 0.02):
        rig.source._bus._units._new_health = Health
        await asyncio.sleep(seconds)
        return sum(row.quality == Quality.GOOD for row in rig.port.rows if not row.tag.startswith("m3."))


async def isolation(folder: Path, seconds: float) -> dict[str, float]:
    """What one dead unit of eight leaves to the others."""
    # In turns, so that whatever else the machine does falls on both.
    counts = [await living(folder, seconds, dead) for dead in (None, 3, 3, None)]
    return {"percent_kept": 100 * (counts[1] + counts[2]) / (counts[0] + counts[3])}


def decoder() -> dict[str, float]:
    """The register bytes of 10,000 tags into columns."""
    bus = plan(1, 1, 1.0, 1)
    device = Device("d0", bus.connection.devices["d0"], places(bus, "d0"), 5.0, None)
    blocks = device.plan.blocks
    payloads = [bytes(block.payload_bytes) for block in blocks]
    times, failures = [0] * len(blocks), [0] * len(blocks)
    return {"us_per_10000_tags": best(lambda: device.plan.decoder.decode(payloads, times, failures))}


def best(work: Callable[[], object], rounds: int = 200) -> float:
    """The shortest of many runs, in microseconds."""
    took = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return min(took) * 1e6


def in_c(program: Path, port: int, count: int) -> dict[str, float]:
    """The same requests by libmodbus."""
    command = [str(program), "ask", str(port), str(count), str(BLOCK)]
    per_s, cpu_us = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return {"requests_per_s": float(per_s), "cpu_us": float(cpu_us)}


def run(
    work: Callable[[int, int, int], Coroutine[Any, Any, dict[str, float]]], port: int, depth: int, count: int
) -> dict[str, float]:
    """One round on an event loop of its own."""
    return asyncio.run(work(port, depth, count))


def quietest(work: Callable[[], dict[str, float]], rounds: int = 3) -> dict[str, float]:
    """The fastest of some rounds: what else the machine does is not ours."""
    return max((work() for _ in range(rounds)), key=lambda figures: figures["requests_per_s"])


def measured(count: int, seconds: float) -> dict[str, dict[str, float]]:
    """Everything, in the order of the table."""
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, peer(Path(folder)) as (program, port):
        rows["libmodbus in C, 1 in flight"] = quietest(lambda: in_c(program, port, count))
        for depth in (1, 4, 8, 16):
            rows[f"bare requests, {depth} in flight"] = quietest(partial(run, requests, port, depth, count))
        for depth in (1, 8, 16):
            rows[f"whole polls, {depth} in flight"] = quietest(partial(run, polls, port, depth, count))
        rows["10,000 registers each second"] = asyncio.run(grid(port, seconds))
        rows["serial, 1 of 8 units dead"] = asyncio.run(isolation(Path(folder), 2 * seconds))
    rows["decoder"] = decoder()
    return rows


def main() -> int:
    """Measure, print a table, write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = measured(options.requests, options.seconds)
    for name, figures in rows.items():
        print(f"{name:32}", "  ".join(f"{key} {value:,.1f}" for key, value in figures.items()))
    report = {"machine": f"{platform.machine()}, Python {platform.python_version()}", "modbus": rows}
    print(json.dumps(report))
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
