"""What people ask of the running daemon on its own machine, through control.sock beside the spool's file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gateway.runtime.control import Caller, ControlError, ControlServer, Params

if TYPE_CHECKING:
    from gateway.app.daemon import Daemon

log = logging.getLogger(__name__)

SOCKET: Final = "control.sock"
_TRACE_LINES: Final = 1000  # waiting for a slow reader; the oldest are dropped beyond


class Controls:
    """Answers the commands."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def reload(self, _: Params, caller: Caller) -> Any:
        """Read the configuration again."""
        return await self._daemon.reload(str(caller))

    async def status(self, _: Params, caller: Caller) -> Any:
        """The overview, devices, upstreams and losses as on the status page."""
        del caller
        view = self._daemon.view
        parts = {"devices": view.devices(), "upstreams": view.upstreams(), "losses": view.losses()}
        return {"health": view.health(), **parts, "events": view.events()}

    async def write(self, params: Params, caller: Caller) -> Any:
        """Write one tag; the result as in an answer to a command over MQTT."""
        request = {
            "id": f"local-{secrets.token_hex(8)}",
            "writes": [{"tag": params.get("tag"), "value": params.get("value")}],
        }
        answer = json.loads(await self._daemon.commands.answer(json.dumps(request).encode(), str(caller)))
        return answer["results"][0]

    async def acknowledge(self, params: Params, caller: Caller) -> Any:
        """An operator has seen a tag's alarm."""
        name = str(params.get("tag", ""))
        tag = self._daemon.table.find(name)
        if tag is None:
            raise ControlError(f"there is no tag {name!r}")
        if not self._daemon.acknowledge(tag, str(caller)):
            raise ControlError(f"{name} has no alarm to acknowledge")
        return {"tag": name, "status": "ok"}

    async def trace(self, params: Params, caller: Caller) -> AsyncIterator[Any]:
        """A line per frame of one device until the caller hangs up."""
        device = str(params.get("device", ""))
        lines: asyncio.Queue[str] = asyncio.Queue(_TRACE_LINES)

        def sink(line: str) -> None:
            if lines.full():
                lines.get_nowait()
            at = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
            lines.put_nowait(f"{at}Z {line}")

        if not self._daemon.traces.watch(device, sink):
            raise ControlError(f"there is no device {device!r}")
        self._daemon.records.note("trace", source=str(caller), device=device, trace="on")
        try:
            while True:
                yield await lines.get()
        finally:
            self._daemon.traces.leave(device, sink)
            self._daemon.records.note("trace", source=str(caller), device=device, trace="off")


@contextlib.asynccontextmanager
async def control_server(daemon: Daemon) -> AsyncIterator[None]:
    """Serve the commands while inside; where the socket can't be made the daemon runs without it and says so."""
    controls = Controls(daemon)
    answers = {
        "reload": controls.reload,
        "status": controls.status,
        "write": controls.write,
        "acknowledge": controls.acknowledge,
    }
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(ControlServer(daemon.state / SOCKET, answers, {"trace": controls.trace}))
        except OSError as error:
            log.warning("no control socket: %s: %s", daemon.state / SOCKET, error.strerror or error)
        yield
