"""A daemon that is nothing but a spool, killed with SIGKILL at random moments; `accounts.py` says what became of all.

One upstream acknowledges everything, the other is dead.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from gateway.block import Block
from gateway.runtime.clock import Clock
from tests.fakes.accounts import Accounts, Kill
from tests.fakes.mosquitto import Received
from tests.fakes.spool import drain, make

COMMIT_S = 0.06
TRIP_NS = 5_000_000  # an append is a call
SLACK_NS = 100_000_000  # beside twice the longest turn of the loop and the longest transaction of a life

CHILD = """
import asyncio, json, sys, time
from pathlib import Path
from gateway.codec.warm import warm
from gateway.runtime.clock import Clock
from tests.fakes.spool import make, readings
from tests.fakes.spool_daemon import as_lines

async def main():
    path, number = Path(sys.argv[1]), int(sys.argv[2])
    more = {"max_size": "64MiB", "seal": {"max_age": "20ms"}, "commit_interval": "60ms"}
    async with make(path, ("plant", "cloud"), Clock(), **more) as spool:
        asyncio.create_task(spool.run())
        plant, apply = spool.delivery("plant"), spool._keeper.apply
        async def timed(changes):
            print(json.dumps(["begin", time.time_ns()]), flush=True)
            await apply(changes)
            print(json.dumps(["end", time.time_ns()]), flush=True)
        spool._keeper.apply = timed
        async def receive():
            while True:
                block = await plant.next()
                for line in as_lines(block):
                    print(line, flush=True)
                plant.acknowledge(block)
        asyncio.create_task(receive())
        while True:
            print(json.dumps(["put", number, time.time_ns()]), flush=True)
            spool.append(readings([number]))
            number += 1
            await asyncio.sleep(0.002)

warm()  # as the real one before it is ready
asyncio.run(main())
"""


def messages(block: Block) -> list[tuple[str, str]]:
    """A block as its messages, for the accounts."""
    rows = [{"value": int(value), "quality": "good"} for value in block.readings.value]
    body = json.dumps({"boot": block.id.boot, "block": block.id.number, "readings": rows})
    return [("cell/events", event.decode()) for event in block.events] or [("cell/press/data", body)]


def as_lines(block: Block) -> list[str]:
    """The same as lines of the child."""
    return [json.dumps(["got", *message]) for message in messages(block)]


class Lives:
    """One life of the daemon after the other, on one spool."""

    def __init__(self, path: Path) -> None:
        self.accounts = Accounts([], [], [], COMMIT_S, TRIP_NS)
        self.received: list[tuple[str, str]] = []
        self._path = path

    def life(self, rng: random.Random) -> None:
        """Start, kill after some values, or before the first one."""
        command = (sys.executable, "-c", CHILD, str(self._path), str(len(self.accounts.asked_ns) + 1))
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        lines: list[str] = []
        if rng.random() < 0.15:
            time.sleep(rng.uniform(0.2, 2.0))
        else:
            wanted = rng.randrange(1, 1500)
            lines = [child.stdout.readline() for _ in range(wanted)]
        at_ns = time.time_ns()
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines()
        child.wait()
        child.stdout.close()
        dead_ns = time.time_ns()
        parsed: list[list[Any]] = []
        for line in lines:
            with suppress(ValueError):  # the last one may be cut: then nothing came of it
                parsed.append(json.loads(line))
        puts = [line[2] for line in parsed if line[0] == "put"]
        self.accounts.asked_ns += puts
        self.received += [(line[1], line[2]) for line in parsed if line[0] == "got"]
        moments = [*(line[1] for line in parsed if line[0] in {"begin", "end"}), dead_ns]
        transactions = [end - begin for begin, end in zip(moments[::2], moments[1::2], strict=False)]
        turns = [after - before for before, after in pairwise([*puts, dead_ns])]
        slack_ns = SLACK_NS + 2 * max(transactions, default=0) + 2 * max(turns, default=0)
        self.accounts.kills.append(Kill(at_ns, dead_ns, min(puts, default=0), away_ns=1, slack_ns=slack_ns))

    async def last(self) -> None:
        """What is left for each upstream."""
        async with make(self._path, ("plant", "cloud"), Clock()) as spool:
            await spool.commit()
            for name, before in (("plant", self.received), ("cloud", [])):
                found = [*before]
                for block in await drain(spool.delivery(name), spool):
                    found += messages(block)
                self.accounts.received[name] = [Received(topic, body.encode(), retain=False) for topic, body in found]


async def survives_kills(path: Path, rounds: int) -> dict[str, Any]:
    """Kill the daemon again and again and settle the accounts; the figures."""
    rng, lives = random.Random(11), Lives(path)
    for _ in range(rounds):
        await asyncio.to_thread(lives.life, rng)
    await lives.last()
    return lives.accounts.check()
