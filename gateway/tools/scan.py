"""`gateway scan`: who answers on a Modbus link, which registers, and what they may mean. Reads only, gently paced."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gateway.errors import LinkError
from gateway.field.modbus.client import open_rtu_tcp, open_serial
from gateway.field.modbus.mbap import open_tcp
from gateway.field.modbus.session import Session
from gateway.field.modbus.settings import ModbusRtu, ModbusRtuTcp, ModbusTcp
from gateway.field.modbus.wire import NoAnswerError, Wire
from gateway.tools.progress import tell
from gateway.tools.scan_link import ScanLink, Silent
from gateway.tools.scan_map import TABLES, TableMap, again, search
from gateway.tools.scan_report import UnitMap, to_json, to_yaml

BAUDRATES: Final = (19_200, 9_600, 38_400, 115_200, 57_600, 4_800, 2_400, 1_200)
PARITIES: Final = ("even", "none", "odd")
_BETWEEN_SAMPLES_S: Final = 1.0
_CONNECT_S: Final = 3.0
_SAME_FAILURES: Final = 2  # it is not the baud rate or the parity then
_LONGEST_SEARCH: Final = 65_536


@dataclass(frozen=True)
class Wishes:
    """What to look for, and how gently: unit numbers, registers of each table, seconds."""

    units: Sequence[int]
    first: int = 0
    last: int = 999
    timeout_s: float = 0.5
    pause_s: float = 0.01


def scan_modbus_tcp(
    host: str,
    *,
    port: int = 502,
    rtu: bool = False,
    units: str = "1-16,247,255",
    registers: str = "0-999",
    as_json: bool = False,
) -> int:
    """Scan a Modbus TCP server, or (`rtu`) a serial line behind a transparent converter; prints YAML or JSON.

    Exit code 0 if a unit answered, else 1. ValueError, LinkError.
    """
    return asyncio.run(_scan_tcp(host, port, _wishes(units, registers, 0.5), rtu=rtu, as_json=as_json))


def scan_modbus_rtu(
    port: str,
    *,
    baudrate: int | None = None,
    parity: str | None = None,
    units: str = "1-16",
    registers: str = "0-299",
    as_json: bool = False,
) -> int:
    """Scan a serial line: baud rates and parities until a unit answers, then everything there. As `scan_modbus_tcp`."""
    if parity not in {None, *PARITIES}:
        raise ValueError(f"expected {', '.join(PARITIES)} as parity, not {parity!r}")
    rates = (baudrate,) if baudrate else BAUDRATES
    parities = (parity,) if parity else PARITIES
    return asyncio.run(_scan_rtu(port, rates, parities, _wishes(units, registers, 0.2), as_json=as_json))


def numbers(text: str, most: int) -> list[int]:
    """The numbers of a list such as `1-16,255`; ValueError where it is none."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None:
            raise ValueError(f"expected numbers such as 1-16,255, not {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last <= most:
            raise ValueError(f"{part.strip()}: expected at most {most}, the smaller number first")
        found += range(first, last + 1)
    return list(dict.fromkeys(found))


def _wishes(units: str, registers: str, timeout_s: float) -> Wishes:
    places = numbers(registers, _LONGEST_SEARCH - 1)
    return Wishes(numbers(units, 255), places[0], places[-1], timeout_s)


async def _scan_tcp(host: str, port: int, wishes: Wishes, *, rtu: bool = False, as_json: bool) -> int:
    link: dict[str, Any] = {"driver": "modbus-rtu-tcp" if rtu else "modbus-tcp", "host": host, "port": port}
    opener: Callable[[], Awaitable[Wire]]
    if rtu:
        opener = partial(open_rtu_tcp, ModbusRtuTcp.model_construct(**link, timeout=_CONNECT_S), Silent())
    else:
        opener = partial(open_tcp, ModbusTcp.model_construct(**link, timeout=_CONNECT_S), Silent())
    show = partial(_print, link, f"plc-{host}", as_json=as_json)
    try:
        return show(await _look(Session(opener, reopens=True), wishes, show))
    except LinkError as error:
        raise LinkError(f"{host}:{port}: {error}") from error


async def _scan_rtu(port: str, rates: Sequence[int], parities: Sequence[str], wishes: Wishes, *, as_json: bool) -> int:
    failure, failures = "", 0  # in a row, for the same reason
    for rate in rates:
        for parity in parities:
            tell(f"{port}: {rate} baud, parity {parity}")
            settings = ModbusRtu.model_construct(
                driver="modbus-rtu", port=port, baudrate=rate, parity=parity, timeout=wishes.timeout_s
            )
            link = {"driver": "modbus-rtu", "port": port, "baudrate": rate, "parity": parity}
            show = partial(_print, link, "line", as_json=as_json)
            try:
                units = await _look(Session(partial(open_serial, settings, Silent()), reopens=False), wishes, show)
            except LinkError as error:
                failures = failures + 1 if str(error) == failure else 1
                failure = str(error)
                if failures == _SAME_FAILURES or len(rates) * len(parities) == 1:
                    raise
                tell(failure)
                continue
            failures = 0
            if units:
                return show(units)
    return _print({}, "line", [], as_json=as_json)


async def _look(session: Session, wishes: Wishes, show: Callable[[Sequence[UnitMap]], int]) -> list[UnitMap]:
    """What a session shows. Stopped half-way (Ctrl-C), what was found so far is shown all the same."""
    found: list[UnitMap] = []
    try:
        async with session.link():
            await _explore(session, wishes, found)
    except asyncio.CancelledError:
        if found:
            tell("stopped: what was found so far")
            show(found)
        raise
    return found


async def _explore(session: Session, wishes: Wishes, found: list[UnitMap]) -> None:
    link = ScanLink(session, wishes.timeout_s, wishes.pause_s)
    present = []
    for unit in wishes.units:
        tell(f"unit {unit} ...", fleeting=True)
        if await link.present(unit):
            tell(f"unit {unit} answers")
            present.append(unit)
    anyone = len(present) == len(wishes.units) > 2
    if anyone:
        tell("every unit number is answered: the first is explored, the others are taken for the same device")
    note = "answers to any unit number" if anyone else ""
    for unit in present[:1] if anyone else present:
        tables: list[TableMap] = []
        later: dict[str, dict[int, int]] = {}
        found.append(UnitMap(unit, tables, later, note))
        await _explore_unit(link, unit, wishes, tables, later)


async def _explore_unit(
    link: ScanLink, unit: int, wishes: Wishes, tables: list[TableMap], later: dict[str, dict[int, int]]
) -> None:
    read = partial(link.read, unit)
    for area in TABLES:
        tell(f"unit {unit}: {area} {wishes.first}-{wishes.last}")
        tables.append(table := TableMap(area))
        try:
            await search(read, table, wishes.first, wishes.last, partial(_progress, unit, area))
        except NoAnswerError:
            tell(f"unit {unit}: {area}: falls silent, left out")
            table.values.clear()
        if not table.values:
            tables.pop()
        else:
            found = (str(first) if first == last else f"{first}-{last}" for first, last in table.runs)
            tell(f"unit {unit}: {area}: {', '.join(found)}")
    registers = [table for table in tables if table.area in {"holding", "input"}]
    for table in registers:
        table.values.update(await _sampled(read, table))  # the search took its time: both samples shall be close
    await asyncio.sleep(_BETWEEN_SAMPLES_S)
    for table in registers:
        later[table.area] = await _sampled(read, table)


async def _sampled(read: Callable[[int, int, int], Awaitable[list[int] | int]], table: TableMap) -> dict[int, int]:
    try:
        return await again(read, table)
    except NoAnswerError:
        return {}


def _print(link: dict[str, Any], name: str, units: Sequence[UnitMap], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(to_json(link, units), indent=2))
    elif units:
        print(to_yaml(link, name, units), end="")
    if not units:
        print("gateway: nobody answered", file=sys.stderr)
    return 0 if units else 1


def _progress(unit: int, area: str, place: int) -> None:
    tell(f"unit {unit}: {area}:{place}", fleeting=True)
