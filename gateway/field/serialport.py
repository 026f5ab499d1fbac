"""Opening a serial port: in a thread, because the kernel may block, exclusively, with answers as quick as it can.

Needs pyserial, imported at the first opening.
"""

from __future__ import annotations

import asyncio
import errno
import grp
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gateway.errors import LinkError

if TYPE_CHECKING:
    from serial import Serial

Parity = Literal["none", "even", "odd"]


@dataclass(frozen=True, slots=True)
class SerialLine:
    """How a port is opened. `rs485`: the kernel switches the driver with RTS."""

    port: str
    baudrate: int = 9600
    bytesize: int = 8
    parity: Parity = "none"
    stopbits: float = 1
    rs485: bool = False

    @property
    def character_s(self) -> float:
        """Seconds one character takes on the wire: start, data, parity and stop bits."""
        return (1 + self.bytesize + (self.parity != "none") + self.stopbits) / self.baudrate


def why(port: str, code: int | None, text: str) -> str:
    """What a person can do about a port that doesn't open, by the system's error number."""
    if code in {errno.EACCES, errno.EPERM}:
        return f"{port}: permission denied: add the service's user to the group {_group(port)}"
    if code in {errno.ENOENT, errno.ENODEV, errno.ENXIO}:
        return f"{port}: there is no such port (unplugged?)"
    if code == errno.ENOTTY:
        return f"{port}: this is no serial port"
    if code in {errno.EBUSY, errno.EAGAIN}:
        return f"{port}: in use by another program"
    return f"{port}: {os.strerror(code) if code else text}"


def _group(port: str) -> str:
    try:
        name = grp.getgrgid(Path(port).stat().st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"
    return name if name != "root" else "dialout"


def _open(line: SerialLine) -> Serial:
    import termios  # noqa: PLC0415

    import serial  # noqa: PLC0415  # only where a serial port is configured
    from serial.rs485 import RS485Settings  # noqa: PLC0415

    try:
        port = serial.Serial(
            line.port,
            line.baudrate,
            line.bytesize,
            line.parity[0].upper(),
            line.stopbits,
            timeout=0,
            exclusive=True,
        )
    except serial.SerialException as error:
        cause = error.__context__  # a refused setting has its number there only
        code = cause.args[0] if isinstance(cause, termios.error) else error.errno
        raise LinkError(why(line.port, code, str(error))) from error
    except (OSError, ValueError, termios.error) as error:
        code = error.errno if isinstance(error, OSError) else None
        raise LinkError(why(line.port, code, str(error))) from error
    with suppress(ValueError, OSError):  # not every driver has it; answers come some milliseconds later then
        port.set_low_latency_mode(True)
    if line.rs485:
        try:
            port.rs485_mode = RS485Settings()
        except (ValueError, OSError) as error:
            port.close()
            raise LinkError(f"{line.port}: the kernel's driver has no RS-485 mode: {error}") from error
    return port


async def open_port(line: SerialLine) -> Serial:
    """The open port, non-blocking, exclusively ours. LinkError says why it can't be had."""
    return await asyncio.to_thread(_open, line)
