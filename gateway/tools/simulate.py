"""`gateway simulate FILE`: plausible devices for every connection of a configuration, for trials without the plant."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from gateway.config import load
from gateway.config.configuration import Bus, Configuration
from gateway.errors import LinkError
from gateway.field.line.settings import LineConnection
from gateway.field.modbus.settings import ModbusRtu, ModbusRtuTcp, ModbusTcp
from gateway.field.opcua.settings import OpcuaConnection
from gateway.tools.progress import tell
from gateway.tools.simulation.parts import LinePart, ModbusPart, OpcUaPart, Part

_TICK_S: Final = 0.2
_SHARE: Final = 5.0  # the simulation rests this many times as long as it works


def simulate(file: Path, *, remap: bool = False, out: Path | None = None, seconds: float | None = None) -> int:
    """Serve until interrupted (or for `seconds`); returns the exit code. ConfigError, LinkError.

    `remap` serves on loopback ports and pseudo terminals instead of the addresses of the file; `out` receives the
    configuration with the addresses in use.
    """
    configuration = load(file)
    if out is not None and out.resolve() == file.resolve():
        raise ValueError(f"{out} is the configuration itself: --out takes another file")
    parts = build(configuration)
    try:
        asyncio.run(_serve(configuration, parts, remap=remap, out=out, seconds=seconds))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0
    return 0


def build(configuration: Configuration) -> list[Part]:
    """The simulated connections; LinkError where none of them can be simulated."""
    parts = []
    for bus in configuration.buses.values():
        part = _part(bus)
        if part is None:
            print(f"{bus.name}: driver {bus.driver.name} can't be simulated: skipped", file=sys.stderr)
        else:
            parts.append(part)
    if not parts:
        raise LinkError("no connection of the file can be simulated")
    return parts


def rewired(text: str, parts: Sequence[Part]) -> Any:
    """The configuration's document with the addresses in use, comments kept."""
    document = YAML().load(text)
    for part in parts:
        connection = document["connections"][part.name]
        for key, value in part.entry.items():
            if value is None:
                connection.pop(key, None)
            else:
                connection[key] = value
    return document


def _part(bus: Bus) -> Part | None:
    settings = bus.settings
    if isinstance(settings, (ModbusTcp, ModbusRtu, ModbusRtuTcp)):
        return ModbusPart(bus, settings)
    if isinstance(settings, OpcuaConnection):
        return OpcUaPart(bus, settings)
    return LinePart(bus, settings) if isinstance(settings, LineConnection) else None


async def _serve(
    configuration: Configuration, parts: Sequence[Part], *, remap: bool, out: Path | None, seconds: float | None
) -> None:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    if task is not None:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    async with AsyncExitStack() as stack:
        for part in parts:
            await stack.enter_async_context(part.serve(remap=remap))
            print(f"{part.name}: {part.driver} {part.usual} -> {part.place}", flush=True)
        if out is not None:
            yaml = YAML()
            yaml.width = 4096
            yaml.dump(rewired(configuration.file.read_text(encoding="utf-8"), parts), out)
            print(f"configuration: {out}", flush=True)
        if seconds is None:
            tell("serving until Ctrl-C")
        began = loop.time()
        while seconds is None or loop.time() - began < seconds:
            at = loop.time()
            for part in parts:
                await part.refresh(at - began)
            await asyncio.sleep(max(_TICK_S, _SHARE * (loop.time() - at)))
