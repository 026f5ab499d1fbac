"""10,000 changes a second from a foreign OPC UA server: what reaches the pipeline, and at what cost.

    python -m tests.bench.bench_opcua [--seconds 10] [--rate 10000] [--nodes 1000] [--json]

Prints changes received per second and the client process' own CPU time per 1000 changes. The server is node-opcua: a
foreign implementation, and quick enough that the client is what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
from dataclasses import asdict, dataclass, field

from gateway.field.contract import Loss
from gateway.field.opcua import OPCUA
from gateway.field.opcua.settings import OpcuaConnection
from gateway.readings import Readings
from tests.fakes.node_opcua_server import NodeServer
from tests.fakes.port import context_of, plan_of, settings_of


@dataclass
class Counting:
    """Counts instead of keeping."""

    received: int = 0
    bad: int = 0
    batches: int = 0
    losses: list[Loss] = field(default_factory=list)

    def readings(self, readings: Readings) -> None:
        self.received += len(readings)
        self.bad += int((readings.quality >= 0x80).sum())
        self.batches += 1

    def loss(self, loss: Loss) -> None:
        self.losses.append(loss)

    def link(self, device: str, online: bool, reason: str) -> None:
        """Not counted."""


@dataclass(frozen=True)
class Result:
    """What was measured."""

    asked_per_s: int
    sent_per_s: float
    received_per_s: float
    received_share: float
    cpu_ms_per_1000: float
    cpu_percent_of_core: float
    batches_per_s: float
    losses: int
    bad: int


def cpu() -> float:
    """CPU seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def measure(seconds: float, rate: int, nodes: int) -> Result:
    """Subscribe to everything and count."""
    server = NodeServer(nodes, rate)
    await server.start()
    tags = {f"v{number}": {"node": f"ns=1;s=v{number}"} for number in range(nodes)}
    devices = {"plc": {"publish": "250ms", "queue": 1000, "tags": tags}}
    connection = settings_of(OpcuaConnection, driver="opcua", endpoint=server.endpoint, timeout="20s", devices=devices)
    plan = plan_of(connection, 0.0)
    context, _ = context_of(plan)
    counting = Counting()
    object.__setattr__(context, "port", counting)
    run = asyncio.create_task(OPCUA.open(plan, context).run())
    try:
        async with asyncio.timeout(60):
            while counting.received < 2 * nodes:  # noqa: ASYNC110  # an event would be set ten thousand times
                await asyncio.sleep(0.1)
        loop = asyncio.get_running_loop()
        start, used, sent, got, batches = loop.time(), cpu(), server.sent, counting.received, counting.batches
        await asyncio.sleep(seconds)
        took, used = loop.time() - start, cpu() - used
        sent, got, batches = server.sent - sent, counting.received - got, counting.batches - batches
    finally:
        run.cancel()
        await asyncio.wait([run])
        await server.kill()
    return Result(
        rate, sent / took, got / took, got / max(1, sent), used * 1e6 / max(1, got), 100 * used / took,
        batches / took, len(counting.losses), counting.bad,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = asyncio.run(measure(options.seconds, options.rate, options.nodes))
    if options.json:
        print(json.dumps(asdict(result)))
        return
    print(f"asked of the server   {result.asked_per_s:>10,} changes/s")
    print(f"made by the server    {result.sent_per_s:>10,.0f} changes/s")
    print(f"received              {result.received_per_s:>10,.0f} changes/s ({100 * result.received_share:.1f} %)")
    print(f"in publish answers    {result.batches_per_s:>10,.1f} a second")
    print(f"CPU of the client     {result.cpu_percent_of_core:>10.1f} % of a core")
    print(f"per 1000 changes/s    {result.cpu_ms_per_1000 / 10:>10.2f} % of a core (goal: at most 2)")
    print(f"losses {result.losses}, bad rows {result.bad}")


if __name__ == "__main__":
    main()
