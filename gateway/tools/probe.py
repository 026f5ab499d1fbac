"""`gateway probe FILE`: reads every tag once, alone and in blocks; shows value, time taken and any difference."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from rich.console import Console

from gateway.config import load
from gateway.config.configuration import Bus, Configuration
from gateway.errors import LinkError
from gateway.field.contract import BusPlan
from gateway.field.modbus.settings import ModbusRtu, ModbusRtuTcp, ModbusTcp
from gateway.field.opcua.settings import OpcuaConnection
from gateway.readings import Quality
from gateway.tools.probe_report import Probed, refused, to_json, to_lines


def probe(file: Path, *, as_json: bool = False, connection: str | None = None) -> int:
    """Probe every connection of the file (or one); exit code 0 if each tag reads well. ConfigError, ValueError."""
    configuration = load(file)
    if connection is not None and connection not in configuration.buses:
        raise ValueError(f"{file} has no connection {connection}")
    buses = [bus for name, bus in configuration.buses.items() if connection in {None, name}]
    probed = asyncio.run(_probe(configuration, buses))
    if as_json:
        print(json.dumps(to_json(probed), indent=2))
    else:
        console = Console(highlight=False)
        for line in to_lines(probed):
            console.print(line, soft_wrap=True)
        fine = sum(each.fine for each in probed)
        differing = sum(each.difference for each in probed)
        print(f"{fine} of {len(probed)} tags read well" + (f", {differing} differ in a block" if differing else ""))
    return 0 if all(each.fine for each in probed) else 1


async def _probe(configuration: Configuration, buses: list[Bus]) -> list[Probed]:
    found: list[Probed] = []
    for bus in buses:
        plan = bus.plan(configuration.table)
        try:
            found += await _probe_bus(bus, plan)
        except LinkError as error:
            print(f"{bus.name}: {error}", file=sys.stderr)
            found += [
                Probed(tag, refused(Quality.BAD_LINK, 0.0, str(error)))
                for tag in configuration.table
                if tag.device in bus.settings.devices
            ]
    return found


async def _probe_bus(bus: Bus, plan: BusPlan) -> list[Probed]:
    # Each driver's library is imported only where a connection uses it.
    if isinstance(bus.settings, (ModbusTcp, ModbusRtu, ModbusRtuTcp)):
        from gateway.tools.probe_modbus import probe_modbus  # noqa: PLC0415

        return await probe_modbus(plan)
    if isinstance(bus.settings, OpcuaConnection):
        from gateway.tools.probe_opcua import probe_opcua  # noqa: PLC0415

        return await probe_opcua(plan)
    from gateway.tools.probe_source import probe_source  # noqa: PLC0415

    return await probe_source(bus.driver, plan)
