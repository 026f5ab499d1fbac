"""What the daemon tells systemd (sd_notify): through systemd-python where installed, else by a datagram of our own.

Messages are lines `NAME=value` in one datagram to the socket that `NOTIFY_SOCKET` names (sd_notify(3)); nothing is
sent where that variable is missing. A notification that can't be delivered is never an error of the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from gateway.runtime.printable import printable

STATUS_EVERY_S: Final = 5.0
EXTEND_S: Final = 30.0
EXTEND_EVERY_S: Final = 5.0
_SEND_TIMEOUT_S: Final = 1.0

Send = Callable[[str], None]


def native_sender(address: str) -> Send:
    """Sends a datagram to a path or, with a leading `@`, to an abstract address."""
    target = "\0" + address[1:] if address.startswith("@") else address

    def send(message: str) -> None:
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        ):
            channel.settimeout(_SEND_TIMEOUT_S)
            channel.sendto(message.encode(), target)

    return send


def library_sender() -> Send | None:
    """Sends through systemd-python; None where it isn't installed."""
    try:
        notify = importlib.import_module("systemd.daemon").notify
    except (ImportError, AttributeError):
        return None

    def send(message: str) -> None:
        with contextlib.suppress(OSError):
            notify(message)

    return send


class Notifier:
    """The daemon's side of sd_notify. Every call is quick, and does nothing where nobody listens."""

    def __init__(self, send: Send | None, watchdog_s: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self.watchdog_s = watchdog_s  # WATCHDOG=1 is expected at least this often; None: not at all
        self._send = send
        self._now = now
        self._status = ""
        self._status_at = -STATUS_EVERY_S

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Notifier:
        """The notifier of this process as systemd set it up."""
        address = environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls(None, None)
        return cls(library_sender() or native_sender(address), _watchdog_s(environ))

    @property
    def active(self) -> bool:
        """Whether somebody listens."""
        return self._send is not None

    def ready(self) -> None:
        """Started, or done with a reload (refused or not)."""
        self._tell("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`. May be called often: sent on change, at most every 5 s."""
        text = printable(text, 500)
        now = self._now()
        if text != self._status and now - self._status_at >= STATUS_EVERY_S:
            self._status, self._status_at = text, now
            self._tell(f"STATUS={text}")

    def watchdog(self) -> None:
        """The daemon is alive and makes progress."""
        self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """The daemon has begun to stop."""
        self._tell("STOPPING=1")

    def reloading(self) -> None:
        """The configuration is being read again; `ready()` must follow."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def extend_timeout(self, seconds: float = EXTEND_S) -> None:
        """Starting, stopping or reloading takes this much longer from now on."""
        self._tell(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    @contextlib.asynccontextmanager
    async def extending(self) -> AsyncIterator[None]:
        """While inside, systemd's patience is extended every 5 s, at once for the first time. The loop must run."""

        async def extend() -> None:
            while True:
                self.extend_timeout()
                await asyncio.sleep(EXTEND_EVERY_S)

        if not self.active:
            yield
            return
        task = asyncio.create_task(extend(), name="extend-timeout")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _tell(self, message: str) -> None:
        if self._send is not None:
            self._send(message)


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life at most; None where the watchdog is off or meant for another process."""
    pid = environ.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return None
    usec = environ.get("WATCHDOG_USEC", "")
    return int(usec) / 1e6 if usec.isdecimal() and int(usec) > 0 else None
