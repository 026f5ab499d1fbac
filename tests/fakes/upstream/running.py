"""An upstream that runs as long as an `async with` block, and waits with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.readings import TagTable
from gateway.runtime.clock import Clock
from gateway.runtime.counters import Counters, UpstreamCounters
from gateway.runtime.latest import Latest
from gateway.runtime.supervise import Backoff
from gateway.upstream.commands import Commands
from gateway.upstream.conversation import Memory
from gateway.upstream.identity import Identity
from gateway.upstream.settings import UpstreamSettings
from gateway.upstream.upstream import Upstream
from tests.fakes.upstream.delivery import FakeDelivery, plant

DEADLINE_S = 20.0
IDENTITY = Identity("cell", "9f2c61", "1.0", {"enterprise": "acme", "site": "cangzhou"}, {"latitude": 38.31})


@dataclass
class Running:
    """A running upstream and what belongs to it."""

    upstream: Upstream
    delivery: FakeDelivery
    counters: UpstreamCounters
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False  # whether it ended by itself after the stop, set at the end


@asynccontextmanager
async def running(
    broker: str | list[str],
    delivery: FakeDelivery,
    *,
    table: TagTable | None = None,
    commands: Commands | None = None,
    listen: bool = False,
    patience: float = 2.0,
    gateway: str = IDENTITY.gateway,
    boot: str = IDENTITY.boot,
    backoff: Backoff | None = None,
    memory: Memory | None = None,
    latest: Latest | None = None,
    clock: Clock | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Run an upstream; at the end it is stopped, or cancelled where it doesn't stop in time."""
    table = table or plant()
    counters = Counters()
    upstream = Upstream(
        "plant",
        UpstreamSettings(broker=broker, commands=listen, **settings),  # type: ignore[arg-type]  # as YAML gives it
        replace(IDENTITY, gateway=gateway, boot=boot),
        delivery,
        table,
        latest or Latest(table),
        clock or Clock(),
        counters,
        commands,
        memory=memory,
        backoff=backoff or Backoff(0.05, 0.2),
    )
    stop = asyncio.Event()
    task = asyncio.create_task(upstream.run(stop))
    try:
        up = Running(upstream, delivery, counters.upstream("plant"), stop)
        yield up
        stop.set()
        await asyncio.wait([task], timeout=patience)
        up.ended = task.done()
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=DEADLINE_S)
        if not task.cancelled():
            task.result()
