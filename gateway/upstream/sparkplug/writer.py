"""NCMD and DCMD messages -> requests to the command executor, one after the other, each recorded there."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from typing import Final

from gateway.upstream.commands import Commands
from gateway.upstream.conversation import Context
from gateway.upstream.identity import compact
from gateway.upstream.message import Incoming
from gateway.upstream.sparkplug.inbox import orders
from gateway.upstream.sparkplug.node import Node
from gateway.upstream.sparkplug.planner import Names, Planner

MAX_REQUESTS: Final = 64
MAX_SHOWN: Final = 20  # writes of one refused message in the record


class Writer:
    """`written(metric index, read-back)` is called behind each write to a known metric; None: it was refused."""

    def __init__(
        self, context: Context, names: Names, planner: Planner, node: Node, written: Callable[[int, object], None]
    ) -> None:
        self._context = context
        self._names = names
        self._planner = planner
        self._node = node
        self._written = written
        self._requests: asyncio.Queue[Incoming] = asyncio.Queue(MAX_REQUESTS)
        self._number = 0
        self._dropped = 0

    def put(self, message: Incoming) -> None:
        """A command message came."""
        try:
            self._requests.put_nowait(message)
        except asyncio.QueueFull:
            self._dropped += 1

    async def run(self) -> None:
        """Carry out what comes, until cancelled."""
        while True:
            await self._carry_out(await self._requests.get())
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                await self._refuse({"messages": dropped}, self._context.name, f"more than {MAX_REQUESTS} waited")

    async def _carry_out(self, message: Incoming) -> None:
        source = f"{self._context.name} {message.topic}"
        raw = message.payload[:100].hex()
        if message.retain:
            await self._refuse(raw, source, "it is retained")
            return
        device = "" if message.topic == self._names.topic("NCMD") else message.topic.rpartition("/")[2]
        try:
            wanted = orders(device, message.payload, self._planner.catalog)
        except ValueError:
            await self._refuse(raw, source, "it is no Sparkplug payload")
            return
        if wanted.rebirth:
            self._node.rebirth_wanted(asyncio.get_running_loop().time())
        commands = self._context.commands
        if commands is None and wanted.writes:
            asked = [{"tag": name, "value": _shown(value)} for _, name, value in wanted.writes[:MAX_SHOWN]]
            await self._refuse(asked, source, "this upstream takes no commands")
        for index, name, value in wanted.writes:
            readback = None if commands is None else await self._write(commands, name, value, source)
            if index is not None:
                self._written(index, readback)

    async def _refuse(self, request: object, source: str, why: str) -> None:
        if self._context.recorder is not None:
            await self._context.recorder.refuse(request, source, why)

    async def _write(self, commands: Commands, name: str, value: object, source: str) -> object:
        """As a request with an answer, which holds the read-back; refusals are recorded like any request's."""
        self._number += 1
        identity = f"{self._context.identity.boot}-{self._context.name}-{self._number}"
        request = compact({"id": identity, "writes": [{"tag": name, "value": _shown(value)}]})
        answer = json.loads(await commands.answer(request, source))
        return answer["results"][0].get("readback")


def _shown(value: object) -> object:
    """A value as JSON can hold it, which has no NaN."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
