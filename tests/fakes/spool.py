"""Spools for tests: a clock set by hand, readings that can be told apart, a daemon that dies without a word."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import numpy as np

from gateway.block import Block
from gateway.errors import SpoolError
from gateway.readings import Readings, Tag, TagTable
from gateway.runtime.clock import Clock
from gateway.runtime.counters import SpoolCounters
from gateway.spool import Spool, SpoolSettings
from gateway.spool.database import translated
from gateway.spool.delivery import UpstreamDelivery
from gateway.spool.schema import Changes
from gateway.spool.store import Store

START_NS = 1_732_258_800_000_000_000
TABLE = TagTable([Tag("press", f"t{number}") for number in range(8)])
WAIT_S = 20.0


class HandClock:
    """Wall clock and time since boot, moved by hand."""

    def __init__(self, *, synchronised: bool = True, wall_ns: int = START_NS, boot: str = "a" * 32) -> None:
        self.wall_ns = wall_ns
        self.boottime_ns = 10**9
        self.synchronised = synchronised
        self.clock = Clock(
            wall_ns=lambda: self.wall_ns,
            boottime_ns=lambda: self.boottime_ns,
            monotonic_ns=lambda: self.boottime_ns,
            synchronised=lambda: self.synchronised,
            boot=boot,
        )

    def pass_time(self, seconds: float) -> None:
        """Both clocks go on."""
        self.wall_ns += int(seconds * 1e9)
        self.boottime_ns += int(seconds * 1e9)


def settings(path: Path, **more: Any) -> SpoolSettings:
    """Settings as from a file; keys as there."""
    return SpoolSettings.model_validate({"path": path, **more})


def make(
    path: Path,
    upstreams: Iterable[str] = ("plant",),
    clock: Clock | None = None,
    counters: SpoolCounters | None = None,
    table: TagTable = TABLE,
    **more: Any,
) -> Spool:
    """A spool that isn't open yet."""
    wanted = clock or HandClock().clock
    return Spool(settings(path, **more), "cell", table, wanted, counters or SpoolCounters(), upstreams=upstreams)


def readings(values: Iterable[float], time_ns: int = START_NS, tag: int | None = None) -> Readings:
    """One row per value, tags in turn (or one tag), a millisecond apart."""
    value = np.array(list(values), np.float64)
    rows = np.arange(len(value))
    tags = rows % len(TABLE) if tag is None else np.full(len(value), tag)
    return Readings(tags.astype(np.uint32), time_ns + rows * 1_000_000, value, np.zeros(len(value), np.uint8))


def noise(rows: int, seed: int) -> list[float]:
    """Values nothing can compress."""
    found: list[float] = (seed + np.random.default_rng(seed).random(rows)).tolist()
    return found


async def fill(spool: Spool, rounds: int, rows: int = 2500) -> int:
    """Noise, committed block by block; how many readings."""
    for number in range(rounds):
        spool.append(readings(noise(rows, number)))
        await spool.commit()
    return rounds * rows


class Faults:
    """What goes wrong with every disk while `now` says so: `io` (nothing works), `full` (no block fits)."""

    def __init__(self) -> None:
        self.now = ""
        self._patches = [
            patch.object(Store, name, self._failing(getattr(Store, name)))
            for name in ("connect", "read", "oldest", "_transact", "checkpoint", "recall")
        ]

    def __enter__(self) -> Self:
        for each in self._patches:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._patches:
            each.stop()

    def _failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(store: Store, *arguments: Any) -> Any:
            if self.now == "io":
                with translated():
                    raise OSError(errno.EIO, "Input/output error")
            if self.now == "full" and real.__name__ == "_transact":
                # What is small fits, once the ballast made room.
                changes: Changes = arguments[0]
                if changes.insert or changes.rewrite or store.ballast.exists():
                    with translated():
                        raise OSError(errno.ENOSPC, "No space left on device")
            return real(store, *arguments)

        return call


async def take(delivery: UpstreamDelivery) -> Block:
    """The next block; TimeoutError where there is none."""
    async with asyncio.timeout(WAIT_S):
        return await delivery.next()


async def turns(spool: Spool) -> None:
    """Let the loop and the disk's thread do what they have to do."""
    for _ in range(3):
        await asyncio.sleep(0)
        await spool.recall("nothing")


async def nothing_comes(delivery: UpstreamDelivery, spool: Spool) -> bool:
    """Whether `next` goes on waiting after the disk was asked."""
    return await offered(delivery, spool) is None


async def offered(delivery: UpstreamDelivery, spool: Spool) -> Block | None:
    """The next block, if there is one."""
    waiting = asyncio.create_task(delivery.next())
    await turns(spool)
    if waiting.done():
        return waiting.result()
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    return None


async def drain(delivery: UpstreamDelivery, spool: Spool, *, acknowledge: bool = True) -> list[Block]:
    """All blocks there are, acknowledged as they come."""
    found: list[Block] = []
    while (block := await offered(delivery, spool)) is not None:
        found.append(block)
        if acknowledge:
            delivery.acknowledge(block)
    return found


async def crash(spool: Spool) -> None:
    """What kill -9 leaves: nothing more is written, the lock is gone."""
    keeper = spool._keeper
    path = keeper._path
    files = {file: file.read_bytes() for file in (path, path.with_name(path.name + "-wal")) if file.is_file()}
    with suppress(SpoolError):
        await keeper._disk.call(keeper._store.close)  # moves the log into the file: undone below
    for file, content in files.items():
        file.write_bytes(content)
    await keeper._disk.close(WAIT_S)
    if keeper._lock is not None:
        os.close(keeper._lock)


def events_of(blocks: Iterable[Block]) -> list[dict[str, Any]]:
    """All events of blocks."""
    return [json.loads(event) for block in blocks for event in block.events]


def values_of(blocks: Iterable[Block]) -> list[float]:
    """All values of blocks, in order."""
    return [value for block in blocks for value in block.readings.value.tolist()]
