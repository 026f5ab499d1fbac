"""A daemon that is nothing but a spool, killed with SIGKILL at random moments."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.fakes.spool import drain, events_of, make, values_of

OLD_S = 2.0  # far above the commit interval, for a machine that is busy

CHILD = """
import asyncio, json, sys
from pathlib import Path
from typing import Any
from tests.fakes.spool import make, readings

async def main():
    path, first = Path(sys.argv[1]), int(sys.argv[2])
    spool = make(path, ("plant", "cloud"), max_size="64MiB", seal={"max_age": "20ms"}, commit_interval="60ms")
    async with spool:
        asyncio.create_task(spool.run())
        plant = spool.delivery("plant")
        async def receive():
            while True:
                block = await plant.next()
                if block.readings.value.size:
                    print(json.dumps(["got", block.readings.value.tolist()]), flush=True)
                plant.acknowledge(block)
        asyncio.create_task(receive())
        loop, number = asyncio.get_running_loop(), first
        while True:
            print(json.dumps(["put", number, loop.time()]), flush=True)
            spool.append(readings([number]))
            number += 1
            await asyncio.sleep(0.002)

asyncio.run(main())
"""


def kill_at_random(path: Path, first: int, rng: random.Random) -> tuple[set[float], int, set[float]]:
    """Run a daemon, kill it: values older than a generous commit interval, the next value, and what plant received."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path), str(first)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines: list[list[object]] = [json.loads(child.stdout.readline())]
    wanted = rng.randrange(20, 2500)
    while len(lines) < wanted:
        lines.append(json.loads(child.stdout.readline()))
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().splitlines()
    child.wait()
    child.stdout.close()
    for line in rest:
        with suppress(ValueError):  # the last one may be cut
            lines.append(json.loads(line))
    puts = [(float(str(line[1])), float(str(line[2]))) for line in lines if line[0] == "put"]
    got = {value for line in lines if line[0] == "got" for value in line[1]}  # type: ignore[attr-defined]
    end = puts[-1][1]
    return {value for value, at in puts if end - at > OLD_S}, int(puts[-1][0]) + 1, got


async def survives_kills(path: Path, rounds: int) -> None:
    """Kill a daemon again and again: what was older than its commit interval comes, at the dead upstream too."""
    rng = random.Random(11)
    old: set[float] = set()
    received: set[float] = set()
    first = 0
    for _ in range(rounds):
        aged, first, got = await asyncio.to_thread(kill_at_random, path, first, rng)
        old |= aged
        received |= got
    async with make(path, ("plant", "cloud")) as spool:
        await spool.commit()
        cloud = await drain(spool.delivery("cloud"), spool)
        plant = await drain(spool.delivery("plant"), spool)
        assert old <= set(values_of(cloud))
        assert old <= set(values_of(plant)) | received
        assert {event["reason"] for event in events_of(cloud)} == {"power"}
