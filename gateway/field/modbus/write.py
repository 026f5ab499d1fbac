"""Writing one value: the request, its echo, and the value read back. Sent once, never repeated."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import WriteError
from gateway.field.modbus import encode, pdu
from gateway.field.modbus.decode import Decoder
from gateway.field.modbus.device import Place
from gateway.field.modbus.pdu import DeviceError, GarbledError
from gateway.field.modbus.plan import Block
from gateway.field.modbus.station import ModbusStation
from gateway.field.modbus.wire import NoAnswerError
from gateway.field.stations import UnitError
from gateway.readings import Quality, Tag

_NO_FUNCTION = 1


@dataclass
class Writer:
    """Writes to one device. Runs on the bus, in its turn."""

    station: ModbusStation
    masks: bool = True  # function 22 was not refused yet

    async def write(self, tag: Tag, place: Place, value: float | str) -> float | str:
        """Write and read back. WriteError failed, mismatch, bad_type, out_of_range; UnitError without an answer."""
        field, settings = place.field, self.station.model.settings
        if place.address.is_bit_area:
            on = encode.onoff(tag, value)
            number = place.address.number
            await self._send(pdu.write_coil(number, on) if settings.write_single else pdu.write_coils(number, [on]))
            return await self._read_back(place, bytes((on,)), b"\x01")
        if tag.type in {"bool", "int8", "uint8"}:
            bits = encode.part(tag, field.bit, value, high=field.high)
            await self._write_part(place, bits)
            return await self._read_back(place, bits.value.to_bytes(2, "big"), bits.mask.to_bytes(2, "big"))
        data = encode.registers(tag, field.layout, field.encoding, value)
        if settings.write_single and len(data) == 2:
            await self._send(pdu.write_register(place.address.number, int.from_bytes(data, "big")))
        else:
            await self._send(pdu.write_registers(place.address.number, data))
        return await self._read_back(place, data, b"\xff" * len(data))

    async def _write_part(self, place: Place, bits: encode.Bits) -> None:
        number = place.address.number
        if self.masks:
            try:
                await self._ask(pdu.mask_register(number, 0xFFFF & ~bits.mask, bits.value))
            except DeviceError as error:
                if error.code != _NO_FUNCTION:
                    raise WriteError("failed", str(error)) from error
                self.masks = False
            else:
                return
        old = int.from_bytes(await self._send(pdu.read(3, number, 1)), "big")
        new = old & ~bits.mask | bits.value
        single = self.station.model.settings.write_single
        request = pdu.write_register(number, new) if single else pdu.write_registers(number, new.to_bytes(2, "big"))
        await self._send(request)

    async def _read_back(self, place: Place, wanted: bytes, mask: bytes) -> float | str:
        block = Block.of(place.field.function, [place.field.span])
        data = await self._send(pdu.read(block.function, block.start, block.count))
        readings = Decoder([place.field], [block]).decode([data], [0], [0])
        value = float(readings.value[0])
        result = readings.texts.get(int(value), value) if readings.texts else value
        if any((got ^ meant) & bits for got, meant, bits in zip(data, wanted, mask, strict=True)):
            raise WriteError("mismatch", f"{place.name}: the device holds {result} now", readback=result)
        return result

    async def _send(self, data: bytes) -> bytes:
        try:
            return await self._ask(data)
        except DeviceError as error:
            raise WriteError("failed", str(error)) from error

    async def _ask(self, data: bytes) -> bytes:
        session = self.station.session
        await session.ready()
        try:
            answer = await session.start(self.station.model.ask(data))
            session.answered()
            return pdu.payload(data, answer.pdu)
        except NoAnswerError as error:
            raise UnitError(Quality.BAD_TIMEOUT, f"{self.station.device}: no answer to function {data[0]}") from error
        except GarbledError as error:
            await session.recover()
            raise WriteError("failed", f"answered {error}: whether it was done is not known") from error
