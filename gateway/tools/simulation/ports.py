"""Ports for simulated things: a free TCP port, and a serial port that is one side of a raw pseudo terminal."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import termios
import tty
from collections.abc import Callable, Iterator
from typing import Final

_BAUDRATES: Final = {
    getattr(termios, f"B{rate}"): rate for rate in (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
}
_CHUNK: Final = 4096


def free_port(usual: int = 0) -> int:
    """`usual` where nobody listens there on loopback, else any free port."""
    for port in (usual, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


@contextlib.contextmanager
def alone(name: str) -> Iterator[bool]:
    """Whether no other process of this machine is inside such a block: of two that start at once, one."""
    with socket.socket(socket.AF_UNIX) as mark:
        try:
            mark.bind(f"\0{name}")  # in the abstract namespace: no file, and it ends with the process
        except OSError:
            yield False
        else:
            yield True


class PtyPort:
    """The instrument's side of a pseudo terminal. `heard` is called with the bytes a client sent.

    The client's side stays open here too, so that a client may come and go; parity has no meaning on it.
    """

    def __init__(self, heard: Callable[[bytes], None]) -> None:
        self._heard = heard
        self._own, self._other = os.openpty()
        tty.setraw(self._other)
        os.set_blocking(self._own, False)
        self.path = os.ttyname(self._other)

    @property
    def baudrate(self) -> int:
        """The rate the client set; 0 for one that is not a usual one."""
        return _BAUDRATES.get(termios.tcgetattr(self._other)[5], 0)

    def open(self) -> None:
        """Start listening. Rule: inside a running event loop."""
        asyncio.get_running_loop().add_reader(self._own, self._ready)

    def close(self) -> None:
        """Close both sides; a client sees its port vanish."""
        asyncio.get_running_loop().remove_reader(self._own)
        os.close(self._own)
        os.close(self._other)

    def write(self, data: bytes) -> None:
        """Send bytes to the client. What nobody reads is lost once the terminal is full, as on a wire."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._own, data)

    def _ready(self) -> None:
        try:
            data = os.read(self._own, _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return
        self._heard(data)
