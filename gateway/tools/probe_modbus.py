"""Probes a Modbus connection: each value in a request of its own, then all of them in the planned blocks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.errors import LinkError
from gateway.field.contract import BusPlan
from gateway.field.modbus import pdu
from gateway.field.modbus.client import open_rtu_tcp, open_serial
from gateway.field.modbus.device import Device, places
from gateway.field.modbus.mbap import open_tcp
from gateway.field.modbus.plan import Block
from gateway.field.modbus.settings import ModbusRtu, ModbusRtuTcp
from gateway.field.modbus.wire import NoAnswerError, Wire
from gateway.readings import Quality
from gateway.tools.probe_report import Probed, Sight, refused, sight
from gateway.tools.progress import tell
from gateway.tools.scan_link import Silent

_PATIENCE: Final = 5  # requests without any answer
_SILENT: Final = f"{Quality.BAD_TIMEOUT.word}/{Quality.BAD_TIMEOUT.reason}"


async def probe_modbus(plan: BusPlan) -> list[Probed]:
    """Every tag of the connection. LinkError where the link can't be opened or breaks."""
    settings = plan.connection
    wire: Wire
    if isinstance(settings, ModbusRtu):
        wire = await open_serial(settings, Silent())
    else:
        wire = await (open_rtu_tcp if isinstance(settings, ModbusRtuTcp) else open_tcp)(settings, Silent())
    found: list[Probed] = []
    try:
        for name, device in settings.devices.items():
            found += await _probe_device(wire, Device(name, device, places(plan, name), settings.timeout, None), plan)
    finally:
        wire.close()
    return found


async def _probe_device(wire: Wire, device: Device, plan: BusPlan) -> list[Probed]:
    spans = dict.fromkeys((place.field.function, place.field.span) for place in device.places.values())
    alone = [Block.of(function, (span,)) for function, span in spans]
    tell(f"{device.name}: {len(alone)} single reads")
    singles = await _read(wire, device, alone)
    blocks = () if all(each.quality == _SILENT for each in singles.values()) else device.plan.blocks
    tell(f"{device.name}: {len(blocks)} blocks")
    joined = await _read(wire, device, blocks)
    found = [Probed(plan.table[index], singles[index], joined.get(index)) for index in device.places]
    odd = {
        (place.field.function, place.field.span)
        for place, each in zip(device.places.values(), found, strict=True)
        if each.difference
    }
    again = await _read(wire, device, [Block.of(function, (span,)) for function, span in sorted(odd)])
    return [
        Probed(each.tag, each.single, each.block, again.get(index))
        for index, each in zip(device.places, found, strict=True)
    ]


async def _read(wire: Wire, device: Device, blocks: Iterable[Block]) -> dict[int, Sight]:
    """What each block gave; a device that answers nothing at all is not asked to the end."""
    seen: dict[int, Sight] = {}
    asked = 0
    for block in blocks:
        if asked == _PATIENCE and all(each.quality == _SILENT for each in seen.values()):
            seen |= _without(device, block, Quality.BAD_TIMEOUT, 0.0, "not asked: the device answers nothing")
            continue
        seen |= await _read_block(wire, device, block)
        asked += 1
    return seen


async def _read_block(wire: Wire, device: Device, block: Block) -> dict[int, Sight]:
    request = device.request(block)
    began = time.monotonic()
    try:
        answer = await wire.start(request)
        data = pdu.payload(request.pdu, answer.pdu)
    except NoAnswerError as error:
        return _without(device, block, Quality.BAD_TIMEOUT, time.monotonic() - began, str(error))
    except pdu.DeviceError as error:
        return _without(device, block, Quality.BAD_EXCEPTION, time.monotonic() - began, str(error))
    except pdu.GarbledError as error:
        return _without(device, block, Quality.BAD_DECODE, time.monotonic() - began, str(error))
    except LinkError as error:
        raise LinkError(f"{device.name}: {error}") from error
    readings = device.decoder((block,)).decode([data], [0], [0])
    return {index: sight(readings, index, answer.seconds) for index in _members(device, block)}


def _without(device: Device, block: Block, quality: Quality, seconds: float, detail: str) -> dict[int, Sight]:
    return dict.fromkeys(_members(device, block), refused(quality, seconds, detail))


def _members(device: Device, block: Block) -> Sequence[int]:
    return [
        index
        for index, place in device.places.items()
        if place.field.function == block.function and place.field.span in block.spans
    ]
