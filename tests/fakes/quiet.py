"""What a daemon with a healthy broker writes to its disk, as the kernel counts it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.fakes.counting_plc import CountingPlc, counting
from tests.fakes.gateway import GatewayProcess
from tests.fakes.mosquitto import Collector, Mosquitto
from tests.fakes.waiting import until


def written(pid: int) -> tuple[int, int]:
    """Bytes a process caused to be written to storage, and bytes it gave to write calls (sockets are sent to)."""
    lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    counts = {name: int(number) for name, number in (line.split(": ") for line in lines)}
    return counts["write_bytes"], counts["wchar"]


async def written_in(folder: Path, seconds: float) -> tuple[int, int, int]:
    """What a daemon at 50 readings/s writes: to storage, by calls; and by calls in as long an outage."""
    with Mosquitto(folder) as broker, Collector(broker.port) as received:
        async with CountingPlc() as plc:
            config = counting(folder, plc, f'plant: {{broker: "{broker.url}"}}')
            async with GatewayProcess(config) as daemon:
                await daemon.ready()
                await until(lambda: plc.reads > 100 and len(received.messages) > 10)
                before = written(daemon.pid)
                await asyncio.sleep(seconds)
                healthy = written(daemon.pid)
                broker.kill()
                await asyncio.sleep(min(seconds, 5.0))
                return healthy[0] - before[0], healthy[1] - before[1], written(daemon.pid)[1] - healthy[1]
