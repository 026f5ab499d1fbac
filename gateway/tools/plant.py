"""The demo's plant: one simulated welding cell behind the field devices of config/demo.yaml.

WeldingCell --each tick--> press PLC (Modbus TCP), energy meter (RTU), robot (OPC UA), scale (lines)
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from gateway.tools.simulation.line import LineInstruments
from gateway.tools.simulation.modbus import ModbusRtuServer, ModbusTcpServer
from gateway.tools.simulation.opcua import OpcUaServer, Value, Variable
from gateway.tools.simulation.registers import Image, to_words
from gateway.tools.simulation.welding import WeldingCell

TICK_S: Final = 0.05
_SETPOINT: Final = 130
_ROBOT: Final = (
    Variable("ns=2;s=Weld.Current", "float64", 0.0),
    Variable("ns=2;s=Weld.Voltage", "float64", 0.0),
    Variable("ns=2;s=Weld.WireFeed", "float32", 0.0),
    Variable("ns=2;s=Weld.Program", "string", ""),
    Variable("ns=2;s=Weld.Active", "bool", value=False),
)


def show_press(cell: WeldingCell, image: Image) -> None:
    """Put the press's state into its registers; the setpoint goes the other way, once it was written."""
    tables = image.tables["holding"]
    if tables.defined[_SETPOINT]:
        cell.setpoint = float(tables.words[_SETPOINT])
    else:
        image.put("holding", _SETPOINT, [round(cell.setpoint)], writable=True)
    image.put("holding", 100, to_words(cell.temperature, "float32", "CDAB"))
    image.put("holding", 102, to_words(round(cell.coolant * 10), "int16"))
    image.put("holding", 103, to_words(round(cell.flow * 100), "uint16"))
    image.put("holding", 104, to_words(cell.force, "float32", "CDAB"))
    image.put("holding", 106, [round(cell.weld_current), round(cell.speed * 10)])
    image.put("holding", 110, [round(zone * 10) for zone in cell.zones])
    image.put("holding", 120, to_words(cell.parts, "uint32", "CDAB"))
    image.put("holding", 122, [cell.state, cell.door_open | cell.alarm_overheat << 1 | cell.alarm_coolant << 2])
    image.put("coil", 0, [cell.running, cell.clamped])


def show_meter(cell: WeldingCell, image: Image) -> None:
    """Put the meter's measurements into its input registers, as float32 and one uint32."""
    for place, value in enumerate((*cell.volts, *cell.amps, cell.power, cell.frequency)):
        image.put("input", 2 * place, to_words(value, "float32"))
    image.put("input", 16, to_words(int(cell.energy), "uint32"))


def robot_values(cell: WeldingCell) -> tuple[Value, ...]:
    """The robot's variables, in the order the server declares them."""
    current, feed = round(cell.arc_current, 2), round(cell.wire_feed, 3)  # what such a robot resolves
    return current, cell.arc_voltage, feed, cell.program, cell.arc_voltage > 0.0


def scale_line(cell: WeldingCell) -> bytes:
    """What the scale says: steady or not, gross, weight."""
    return f"{'ST' if cell.weight_steady else 'US'},GS,{cell.weight:+09.3f}kg\r\n".encode("ascii")


class Plant:
    """The cell and its devices. Use with `async with`, and let `run` go on in a task."""

    def __init__(self, seed: int = 3, *, tcp_port: int = 0, opcua_port: int | None = None) -> None:
        self.cell = WeldingCell(seed)
        self._press, self._meter = Image(), Image()
        self.press = ModbusTcpServer({1: self._press}, port=tcp_port)
        self.meter = ModbusRtuServer({1: self._meter})
        self.scale = LineInstruments({b"W\r\n": lambda: scale_line(self.cell)})
        self.robot = None if opcua_port is None else OpcUaServer(list(_ROBOT), port=opcua_port)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Plant:
        self._show()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.press)
            await stack.enter_async_context(self.meter)
            await stack.enter_async_context(self.scale)
            if self.robot is not None:
                await stack.enter_async_context(self.robot)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run(self) -> None:
        """Let the cell work in real time until cancelled."""
        clock = asyncio.get_running_loop().time
        last = clock()
        while True:
            await asyncio.sleep(TICK_S)
            now = clock()
            self.cell.step(now - last)
            last = now
            self._show()
            if self.robot is not None:
                for variable, value in zip(_ROBOT, robot_values(self.cell), strict=True):
                    await self.robot.set(variable.node, value)

    def _show(self) -> None:
        show_press(self.cell, self._press)
        show_meter(self.cell, self._meter)
