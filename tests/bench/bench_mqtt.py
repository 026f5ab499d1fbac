"""QoS 1 messages a second beside libmosquitto's C client, encoding rates, and draining a backlog to mosquitto.

python -m tests.bench.bench_mqtt [--messages 20000] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gateway.block import Block, BlockId
from gateway.codec import jsontext
from gateway.readings import Readings, Tag, TagTable
from gateway.upstream.columns import ColumnsPayload
from gateway.upstream.identity import Identity
from gateway.upstream.json import JsonPayload
from gateway.upstream.message import Message
from gateway.upstream.payload import Payload, Properties5
from gateway.upstream.plan import Plan
from gateway.upstream.session import Session
from gateway.upstream.settings import parse_endpoint
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.upstream.delivery import STAMP, START_NS, FakeDelivery
from tests.fakes.upstream.running import running
from tests.fakes.waiting import until

SOURCE = Path(__file__).parent / "mqtt_client.c"
BROKER = ("max_queued_messages 0", "max_inflight_messages 1000", "log_type error")
WINDOW = 100
IDENTITY = Identity("bench", "9f2c61", "1.0")


async def session_rate(port: int, messages: int, size: int) -> tuple[float, float]:
    """Messages per second and CPU microseconds per message of our session, WINDOW of them on the way."""
    session = Session(Plan(parse_endpoint(f"mqtt://127.0.0.1:{port}"), "5", "bench"))
    await session.open()
    message = Message("bench/data", b"x" * size)
    sent = done = 0
    began, used = time.perf_counter(), time.process_time()
    while done < messages:
        while sent < messages and sent - done < WINDOW:
            session.publish(message)
            sent += 1
        await session.wait()
        done += len(session.take_acks())
    rate = messages / (time.perf_counter() - began), (time.process_time() - used) / messages * 1e6
    await session.close(2.0)
    return rate


def reference_rate(program: Path, port: int, messages: int, size: int) -> tuple[float, float]:
    """The same of the C client."""
    output = subprocess.check_output([str(program), str(port), str(messages), str(size), str(WINDOW)], text=True)
    rate, cpu = output.split()
    return float(rate), float(cpu)


def backlog(blocks: int, rows: int) -> list[Block]:
    """Blocks as a plant gives them: ten devices, a hundred tags each, decimals."""
    table = TagTable(Tag(f"press-{device}", f"temperature_{tag}") for device in range(10) for tag in range(100))
    rng = np.random.default_rng(1)
    found = []
    for number in range(blocks):
        index = np.arange(number * rows, (number + 1) * rows)
        values = np.round(rng.normal(100.0, 10.0, rows), 1)
        readings = Readings(
            (index % 1000).astype(np.uint32), START_NS + index // 1000 * 100_000_000, values, np.zeros(rows, np.uint8)
        )
        found.append(Block(BlockId("9f2c61", number), table, readings, (), STAMP, START_NS))
    return found


def encode_rate(payload: Payload, blocks: list[Block]) -> float:
    """Readings per second turned into messages."""
    payload.messages(blocks[0], 65536)
    began = time.perf_counter()
    for block in blocks:
        payload.messages(block, 65536)
    return sum(len(block.readings) for block in blocks) / (time.perf_counter() - began)


async def drain_rate(port: int, blocks: list[Block], form: str) -> tuple[float, float]:
    """Readings per second until the last PUBACK, and CPU microseconds per reading."""
    delivery = FakeDelivery(blocks)
    readings = delivery.backlog
    began, used = time.perf_counter(), time.process_time()
    async with running(f"mqtt://127.0.0.1:{port}", delivery, table=blocks[0].table, format=form):
        await until(lambda: not delivery.left, 120.0)
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
    return readings / seconds, cpu / readings * 1e6


def measure(messages: int) -> dict[str, Any]:
    """All figures."""
    figures: dict[str, Any] = {"machine": f"{platform.machine()} {platform.processor()}", "window": WINDOW}
    jsontext.warm()
    with tempfile.TemporaryDirectory() as name, Mosquitto(Path(name), BROKER) as broker:
        program = Path(name) / "mqtt_client"
        subprocess.check_call(["gcc", "-O2", str(SOURCE), "-lmosquitto", "-o", str(program)])
        for size in (200, 8192):
            pairs = []
            for _ in range(3):  # in turn, so that both meet the same machine
                theirs = reference_rate(program, broker.port, messages, size)
                pairs.append((asyncio.run(session_rate(broker.port, messages, size)), theirs))
            pairs.sort(key=lambda pair: pair[0][0] / pair[1][0])
            (ours, cpu), (theirs_rate, theirs_cpu) = pairs[1]
            figures[f"qos1_{size}"] = {
                "messages_per_s": ours,
                "cpu_us": cpu,
                "libmosquitto_per_s": theirs_rate,
                "libmosquitto_cpu_us": theirs_cpu,
                "ratio": ours / theirs_rate,
            }
        blocks = backlog(100, 5000)
        properties = Properties5(IDENTITY, enabled=True)
        payloads: dict[str, Callable[[], Payload]] = {
            "json": lambda: JsonPayload(IDENTITY, "{gateway}/{device}", properties=properties),
            "columns": lambda: ColumnsPayload(IDENTITY, "{gateway}/{device}", properties=properties),
        }
        for form, make in payloads.items():
            encoded = encode_rate(make(), blocks)
            rate, cpu = asyncio.run(drain_rate(broker.port, blocks, form))
            figures[form] = {
                "encode_readings_per_s": encoded,
                "drain_readings_per_s": rate,
                "drain_cpu_us": cpu,
            }
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.messages)
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
