"""The whole daemon among peers that mean it no good: nonsense on every wire, a flood of commands."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fakes.counting_plc import CountingPlc
from tests.fakes.gateway import GatewayProcess
from tests.fakes.hostile import Site, Watch, calm, enemies, kept_its_period
from tests.fakes.mosquitto import Collector, Mosquitto, free_port
from tests.fakes.waiting import until

SECONDS = float(os.environ.get("GATEWAY_FUZZ_SECONDS", "6"))
GROWTH_KIB = 24 * 1024  # buffers of a flood and the arenas behind them; a leak of every flood would be far more


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as started:
        yield started


@pytest.fixture
async def site(tmp_path: Path, broker: Mosquitto) -> AsyncIterator[Site]:
    async with CountingPlc() as plc:
        yield Site(tmp_path, plc, broker, free_port())


@pytest.mark.timeout(SECONDS + 120)
async def test_nonsense_on_every_wire_costs_only_itself(site: Site) -> None:
    async with enemies(site.folder) as (more, upstreams, peers):
        calm_file = site.configure()
        async with GatewayProcess(calm_file) as daemon:
            await daemon.ready()
            before = await calm(site, daemon)
            assert await daemon.end() == 0
        async with GatewayProcess(site.configure(more, upstreams), "hostile") as daemon:
            with Collector(site.broker.port, "cell/#") as received:
                await daemon.ready()
                await until(lambda: all(peer.answers > 0 for peer in peers))
                sending = asyncio.create_task(junk_commands(received))
                async with Watch(site, daemon) as watch:
                    await asyncio.sleep(SECONDS)
                sending.cancel()
                await asyncio.wait([sending])
                await served(received)
            assert await daemon.end() == 0
    assert "Traceback" not in daemon.log
    kept_its_period(watch, before)
    assert watch.growth_kib() < GROWTH_KIB
    assert site.plc.written == {30: 7}


async def junk_commands(received: Collector) -> None:
    rng = random.Random(7)
    request = b'{"id":"a1","writes":[{"tag":"press.setpoint","value":900}],"expires":1}'
    while True:
        position = rng.randrange(len(request))
        junk = [rng.randbytes(rng.randrange(200)), request[:position] + rng.randbytes(3) + request[position + 3 :]]
        junk += [b"[" * 5000, b'{"id":"' + b"\\u0000" * 100 + b'","writes":[]}', b'{"id":"b","writes":[{}]}']
        for payload in junk:
            await asyncio.to_thread(received.publish, "cell/command/write", payload)


async def served(received: Collector) -> None:
    """The next right request is carried out, whatever came before it."""
    request = {"id": "the last", "writes": [{"tag": "press.setpoint", "value": 7}]}
    await asyncio.to_thread(received.publish, "cell/command/write", json.dumps(request).encode())

    def answered() -> bool:
        return any(b'"the last"' in payload for payload in received.payloads("cell/command/result"))

    await until(answered, 40)


@pytest.mark.timeout(120)
async def test_a_flood_of_commands_is_bounded(site: Site) -> None:
    async with GatewayProcess(site.configure()) as daemon:
        with Collector(site.broker.port, "cell/#") as received:
            await daemon.ready()
            before = await calm(site, daemon)
            async with Watch(site, daemon) as watch:
                for number in range(300):
                    request = {"id": f"f{number}", "writes": [{"tag": "press.setpoint", "value": number}]}
                    await asyncio.to_thread(received.publish, "cell/command/write", json.dumps(request).encode())
            await served(received)
        assert await daemon.end() == 0
    kept_its_period(watch, before)
    assert watch.growth_kib() < GROWTH_KIB
    assert daemon.log.count("\n") < 60
