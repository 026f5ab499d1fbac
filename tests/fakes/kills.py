"""A daemon that is killed at random moments while its brokers come and go.

    PLC that counts its reads -> gateway run -> proxies -> two brokers -> collectors
                                  ^ SIGKILL      ^ cut, closed, the broker itself killed

`accounts.py` says afterwards where every reading went.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.accounts import Accounts, Kill, newest
from tests.fakes.counting_plc import CountingPlc, counting
from tests.fakes.gateway import GatewayProcess
from tests.fakes.mosquitto import Collector, Mosquitto
from tests.fakes.upstream.proxy import Proxy
from tests.fakes.waiting import until

COMMIT_S = 0.5
TRIP_NS = 100_000_000  # from the PLC to the spool, on a busy machine


@dataclass
class Side:
    """A broker, the line to it, and who listens there."""

    broker: Mosquitto
    proxy: Proxy
    received: Collector
    away_ns: int = 0  # UTC since when the daemon can't reach it; 0: it can

    async def comes_and_goes(self, rng: random.Random) -> None:
        while True:
            await asyncio.sleep(rng.uniform(0.3, 4.0))
            await self.away(dead=rng.random() < 0.4)
            await asyncio.sleep(rng.uniform(0.3, 4.0))
            await self.back()

    async def away(self, *, dead: bool) -> None:
        """Out of reach; a `dead` broker forgets what it had, too."""
        self.away_ns, self.proxy.open = time.time_ns(), False
        self.proxy.cut()
        if dead:
            await asyncio.to_thread(self.broker.kill)

    async def back(self) -> None:
        """Within reach, once somebody listens there."""
        if self.broker.process is None:
            before = self.received.subscriptions
            await asyncio.to_thread(self.broker.start)
            await until(lambda: self.received.subscriptions > before)
        self.proxy.open, self.away_ns = True, 0


@dataclass
class Lives:
    """One life of the daemon after the other, on one spool."""

    config: Path
    sides: dict[str, Side]
    rng: random.Random
    kills: list[Kill] = field(default_factory=list)
    stops: list[tuple[int, int]] = field(default_factory=list)

    async def life(self, number: int) -> None:
        """Start, run for a while, and end: mostly by SIGKILL, sometimes before it is ready."""
        async with GatewayProcess(self.config, f"life-{number}") as daemon:
            ready_ns = 0
            if self.rng.random() < 0.15:
                await asyncio.sleep(self.rng.uniform(0.5, 2.5))
            else:
                await daemon.ready()
                ready_ns = time.time_ns()
                await asyncio.sleep(self.rng.uniform(0.0, 3.0))
            at_ns = time.time_ns()
            if ready_ns and self.rng.random() < 0.15:
                assert await daemon.end() == 0, daemon.log
                self.stops.append((at_ns, time.time_ns()))
                return
            away = [side.away_ns for side in self.sides.values() if side.away_ns]
            await daemon.end(signal.SIGKILL)
            self.kills.append(Kill(at_ns, time.time_ns(), ready_ns, min(away, default=0)))

    async def last(self, plc: CountingPlc) -> None:
        """A life that delivers all there is."""
        async with GatewayProcess(self.config, "last") as daemon:
            await daemon.ready()
            enough = plc.reads + 20
            for side in self.sides.values():
                await until(lambda each=side: newest(each.received.messages) > enough, 60)  # type: ignore[misc]  # binds
            assert await daemon.end() == 0, daemon.log


async def killed_at_random(folder: Path, rounds: int, seed: int) -> Accounts:
    """Kill the daemon `rounds` times or so; what was asked of the PLC, and what each collector got."""
    rng = random.Random(seed)
    async with AsyncExitStack() as stack:
        plc = await stack.enter_async_context(CountingPlc())
        sides: dict[str, Side] = {}
        for name in ("plant", "cloud"):
            broker = stack.enter_context(Mosquitto(folder))
            proxy = await stack.enter_async_context(Proxy(broker.port))
            sides[name] = Side(broker, proxy, stack.enter_context(Collector(broker.port)))
        upstreams = ", ".join(f'{name}: {{broker: "{side.proxy.url}"}}' for name, side in sides.items())
        lives = Lives(counting(folder, plc, upstreams), sides, rng)
        flapping = [asyncio.create_task(side.comes_and_goes(rng)) for side in sides.values()]
        try:
            for number in range(rounds):
                await lives.life(number)
        finally:
            for task in flapping:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        for side in sides.values():
            await side.back()
        await lives.last(plc)
        accounts = Accounts(plc.times_ns, lives.kills, lives.stops, COMMIT_S, TRIP_NS)
        for name, side in sides.items():
            await until(lambda each=side: accounts.settled(each.received.messages), 60)  # type: ignore[misc]  # binds
            accounts.received[name] = list(side.received.messages)
        return accounts
