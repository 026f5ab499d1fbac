"""A Modbus TCP server that is no bottleneck: answers every register read at once, each time with other values.

python tests/bench/fast_modbus_server.py   prints its port, serves until stdin is closed
"""

from __future__ import annotations

import asyncio
import struct
import sys

STEP = 100  # how far a register moves from read to read
REQUEST = struct.Struct(">HHHBBHH")


class Registers(asyncio.Protocol):
    """One connection; whole requests only matter, what is left over waits for the next chunk."""

    def __init__(self) -> None:
        self._buffer = b""
        self._value = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        data = self._buffer + data
        out = []
        whole = len(data) - len(data) % REQUEST.size
        for transaction, _, _, unit, function, _, count in REQUEST.iter_unpack(data[:whole]):
            self._value = (self._value + STEP) % 30_000
            size = 2 * count
            out.append(struct.pack(">HHHBBB", transaction, 0, size + 3, unit, function, size))
            out.append(struct.pack(">H", self._value) * count)
        self._buffer = data[whole:]
        self._transport.write(b"".join(out))


async def main() -> None:
    """Serve until stdin ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Registers, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
