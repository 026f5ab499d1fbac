"""One connection of a configuration, simulated: what it serves, where, and how its entry looks when it is remapped."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from gateway.config.configuration import Bus
from gateway.errors import LinkError
from gateway.field.line.settings import LineConnection, LineDevice
from gateway.field.modbus.settings import ModbusRtu, ModbusRtuTcp, ModbusTcp
from gateway.field.opcua.settings import OpcuaConnection
from gateway.runtime.printable import in_words
from gateway.tools.simulation.line import LineInstruments, Speech
from gateway.tools.simulation.lines import spoken_line
from gateway.tools.simulation.modbus import ModbusRtuServer, ModbusTcpServer
from gateway.tools.simulation.modbus_units import ModbusUnits
from gateway.tools.simulation.opcua import OpcUaServer, Variable
from gateway.tools.simulation.plausible import Signal

LOOPBACK: Final = "127.0.0.1"
_TURN_S: Final = 15.0
_TALK_S: Final = 1.0  # talkers are quicker than anybody wants to hear them
_UNREMAPPED_SECRETS: Final = (
    "security", "username", "password", "user_certificate", "user_private_key",
)  # fmt: skip


class Part(ABC):
    """A connection's simulated devices."""

    def __init__(self, bus: Bus) -> None:
        self.name = bus.name
        self.driver = bus.driver.name
        self.usual = ""  # the place the configuration names
        self.place = ""  # where it is served; set once it is open
        self.entry: dict[str, Any] = {}  # keys of the connection that differ when remapped; None removes one

    @abstractmethod
    def serve(self, *, remap: bool) -> AbstractAsyncContextManager[object]:
        """Listen at the configuration's address, or on loopback. LinkError says why that is impossible."""

    @abstractmethod
    async def refresh(self, t: float) -> None:
        """Give every tag its value of time `t`."""


class ModbusPart(Part):
    """Modbus TCP, RTU and RTU over TCP."""

    def __init__(self, bus: Bus, settings: ModbusTcp | ModbusRtu | ModbusRtuTcp) -> None:
        super().__init__(bus)
        self._settings = settings
        self._units = ModbusUnits(settings.devices)
        self.usual = settings.port if isinstance(settings, ModbusRtu) else f"{settings.host}:{settings.port}"

    @asynccontextmanager
    async def serve(self, *, remap: bool) -> AsyncIterator[object]:
        """As `Part.serve`."""
        settings = self._settings
        await self.refresh(0.0)
        if isinstance(settings, ModbusRtu):
            async with ModbusRtuServer(self._units.images) as server:
                with serial_place(self, settings.port, server.path, remap=remap):
                    yield server
            return
        place = (LOOPBACK, 0) if remap else (settings.host, settings.port)
        tcp = ModbusTcpServer(self._units.images, *place, rtu=isinstance(settings, ModbusRtuTcp))
        async with _listening(self, tcp):
            self.place = f"{place[0]}:{tcp.port}"
            self.entry = {"host": place[0], "port": tcp.port}
            yield tcp

    async def refresh(self, t: float) -> None:
        """As `Part.refresh`; what a client wrote stays as it is."""
        self._units.refresh(t)


class OpcUaPart(Part):
    """An OPC UA server with the nodes the tags name, without security."""

    def __init__(self, bus: Bus, settings: OpcuaConnection) -> None:
        super().__init__(bus)
        self.usual = settings.endpoint
        self._signals: dict[str, tuple[Signal, Variable]] = {}
        for device, entry in settings.devices.items():
            for name, tag in entry.tags.items():
                signal = Signal(tag.tag(device, name))
                first = _typed(tag.type, signal.raw(0.0))
                variable = Variable(tag.node, tag.type, first, writable=tag.write is not None)
                self._signals.setdefault(tag.node, (signal, variable))
        self._server: OpcUaServer | None = None
        self._held: set[str] = set()
        self._last: dict[str, bool | int | float | str] = {}

    @asynccontextmanager
    async def serve(self, *, remap: bool) -> AsyncIterator[object]:
        """As `Part.serve`."""
        host, _, port = self.usual.removeprefix("opc.tcp://").partition("/")[0].rpartition(":")
        variables = [variable for _, variable in self._signals.values()]
        server = OpcUaServer(variables, LOOPBACK if remap else host, 0 if remap else int(port))
        async with _listening(self, server):
            self._server = server
            self.place = server.endpoint
            self.entry = {"endpoint": server.endpoint, **dict.fromkeys(_UNREMAPPED_SECRETS)}
            yield server

    async def refresh(self, t: float) -> None:
        """As `Part.refresh`; what a client wrote stays as it is."""
        if self._server is None:
            return
        for node, (signal, variable) in self._signals.items():
            if variable.writable and node in self._last and await self._server.get(node) != self._last[node]:
                self._held.add(node)
            if node not in self._held:
                value = _typed(variable.type, signal.raw(t))
                await self._server.set(node, value)
                self._last[node] = await self._server.get(node) if variable.writable else value


class LinePart(Part):
    """Line instruments on a serial port or a TCP stream."""

    def __init__(self, bus: Bus, settings: LineConnection) -> None:
        super().__init__(bus)
        self.usual = settings.place
        self._settings = settings
        self._t = 0.0
        answers: dict[bytes, list[Speech]] = {}
        self._talks: list[tuple[float, Speech]] = []
        for name, device in settings.devices.items():
            poll, speech = device.poll or settings.poll, self._speech(name, device)
            if poll:
                answers.setdefault(poll.encode("latin-1"), []).append(speech)
            else:
                self._talks.append((min(bus.every.get(name) or _TALK_S, _TALK_S), speech))
        self._answers = {poll: _joined(speeches) for poll, speeches in answers.items()}

    @asynccontextmanager
    async def serve(self, *, remap: bool) -> AsyncIterator[object]:
        """As `Part.serve`."""
        settings = self._settings
        if settings.tcp is None:
            async with LineInstruments(self._answers, self._talks) as line:
                with serial_place(self, settings.port or "", line.path, remap=remap):
                    yield line
            return
        host, _, port = settings.tcp.rpartition(":")
        place = (LOOPBACK, 0) if remap else (host, int(port))
        tcp = LineInstruments(self._answers, self._talks, tcp=place)
        async with _listening(self, tcp):
            self.place = f"tcp://{place[0]}:{tcp.port}"
            self.entry = {"tcp": f"{place[0]}:{tcp.port}"}
            yield tcp

    async def refresh(self, t: float) -> None:
        """As `Part.refresh`."""
        self._t = t

    def _speech(self, name: str, device: LineDevice) -> Speech:
        signals = {tag.field: Signal(tag.tag(name, key)) for key, tag in device.tags.items() if tag.type != "string"}
        terminator = self._settings.terminator.encode("latin-1")
        spoken_line(device, {})

        def speak() -> bytes:
            values = {field: float(signal.raw(self._t)) for field, signal in signals.items()}
            return spoken_line(device, values, int(self._t // _TURN_S)) + terminator

        return speak


@contextlib.contextmanager
def serial_place(part: Part, usual: str, path: str, *, remap: bool) -> Iterator[None]:
    """Show a pseudo terminal at the port's usual name (a link that is removed again), or leave it where it is."""
    if remap:
        part.place, part.entry = path, {"port": path, "parity": "none"}
        yield
        return
    link = Path(usual)
    try:
        link.symlink_to(path)
    except OSError as error:
        raise LinkError(f"{part.name}: can't put a port at {usual}: {error.strerror}; --remap uses another") from error
    part.place, part.entry = usual, {"parity": "none"}
    try:
        yield
    finally:
        link.unlink(missing_ok=True)


@asynccontextmanager
async def _listening(part: Part, server: AbstractAsyncContextManager[object]) -> AsyncIterator[None]:
    try:
        await server.__aenter__()
    except OSError as error:
        why = in_words(error)
        raise LinkError(f"{part.name}: can't listen at {part.usual}: {why}; --remap uses loopback") from error
    try:
        yield
    finally:
        await server.__aexit__(None, None, None)


def _joined(speeches: list[Speech]) -> Callable[[], bytes]:
    return lambda: b"".join(speech() for speech in speeches)


def _typed(type_: str, value: float | str) -> bool | int | float | str:
    if type_ == "bool":
        return bool(value)
    if type_ == "string" or type_.startswith("float"):
        return value
    return int(value)
