"""A primary host in another language: tests/fakes/sparkplug_host in a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.fakes.sparkplug.stage import GROUP, HOST
from tests.fakes.sparkplug.tap import Packet
from tests.fakes.waiting import until


class NodeHost:
    """Follows the node `cell` on a broker. `seen` is what it told, in order; orders are its keyword arguments."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self.seen: list[dict[str, Any]] = []

    async def __aenter__(self) -> NodeHost:
        self._process = await asyncio.create_subprocess_exec(
            "node", "host.js", str(self._port), GROUP, "cell", HOST,
            cwd=self._folder, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._reader = asyncio.create_task(self._read())
        await self.until(lambda: self.told("ready") == [True])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reader

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.seen.append(json.loads(line))

    def order(self, **orders: Any) -> None:
        """Let it do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(orders).encode() + b"\n")

    def told(self, key: str) -> list[Any]:
        """All it told under a key."""
        return [message[key] for message in self.seen if key in message]

    def count(self, kind: str, device: str | None = None) -> int:
        """How many messages of a type it saw."""
        return sum(message.get("type") == kind and message["device"] == device for message in self.seen)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition on what it told; fails at once where the process ended."""
        await until(lambda: condition() or self._process.returncode is not None)
        assert condition(), self.seen[-5:]

    async def values(self) -> dict[str, dict[str, Any]]:
        """What it believes of the node and its devices now."""
        before = len(self.told("values"))
        self.order(values=True)
        await self.until(lambda: len(self.told("values")) > before)
        answer: dict[str, dict[str, Any]] = self.told("values")[-1]
        return answer


def violations(folder: Path, packets: Iterable[Packet]) -> list[str]:
    """What the host objects to in a recorded sequence of what a gateway published."""
    lines = [
        json.dumps({"topic": one.topic, "payload": one.payload.hex(), "qos": one.qos, "retain": one.retain})
        for one in packets
        if one.kind == "PUBLISH" and one.sent and one.topic.startswith(f"spBv1.0/{GROUP}/")
    ]
    done = subprocess.run(
        ["node", "replay.js"], cwd=folder, input="\n".join(lines).encode(), capture_output=True, timeout=50, check=True
    )
    return done.stdout.decode().splitlines()
