"""Times on a serial line: characters, silent intervals, exchanges (Modbus over Serial Line 1.02, section 2.5.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.field.modbus.plan import Block

FRAME_BYTES: Final = 5  # unit, function code, byte count and CRC around the data of an answer


@dataclass(frozen=True, slots=True)
class LineTiming:
    """What a character and the silence between frames take, in seconds."""

    character_s: float
    silence_s: float  # t3.5

    @classmethod
    def of(cls, baudrate: int, parity_bits: int, stop_bits: float) -> LineTiming:
        """Of a serial line with 8 data bits; above 19200 baud t3.5 is 1.75 ms whatever the rate."""
        character_s = (9 + parity_bits + stop_bits) / baudrate
        return cls(character_s, 3.5 * character_s if baudrate <= 19_200 else 0.001_75)

    def wire_s(self, request_bytes: int, answer_bytes: int) -> float:
        """Time the characters of an exchange are on the line."""
        return (request_bytes + answer_bytes) * self.character_s

    def exchange_s(self, answer_bytes: int, pause_s: float = 0.0, turnaround_s: float = 0.0) -> float:
        """Time a read takes from the bus: request, answer and the silence after each of them."""
        silences = self.silence_s + max(self.silence_s, pause_s)
        return self.wire_s(8, answer_bytes) + silences + turnaround_s

    def worthwhile_gap(self) -> int:
        """Registers that are read over faster than a second request would take."""
        return int((13 * self.character_s + 2 * self.silence_s) / (2 * self.character_s))


def poll_s(blocks: Iterable[Block], timing: LineTiming, pause_s: float) -> float:
    """Seconds the reads of one poll keep the line busy, without the device's own time to answer."""
    return sum(timing.exchange_s(FRAME_BYTES + block.payload_bytes, pause_s) for block in blocks)
