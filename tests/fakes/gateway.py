"""`gateway run` as a child process of a test, ended by its own handle."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.waiting import until

START_S = 90.0  # a cold kernel cache compiles first


class GatewayProcess:
    """The real daemon on one configuration. Its service manager is this object: `notified` holds what it was told."""

    def __init__(self, config: Path, name: str = "daemon") -> None:
        self.config = config
        self.notified: list[str] = []
        self._log = config.with_name(f"{name}.log")
        self._socket = config.with_name(f"{name}.notify")
        self._process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.unlink(missing_ok=True)
        self._channel.bind(str(self._socket))
        asyncio.get_running_loop().add_reader(self._channel, self._told)
        environment = {**os.environ, "NOTIFY_SOCKET": str(self._socket), "NO_COLOR": "1"}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "run", str(self.config), stdout=log, stderr=log, env=environment
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.end(signal.SIGKILL)
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()

    def _told(self) -> None:
        self.notified.append(self._channel.recv(4096).decode())

    async def ready(self) -> None:
        """Wait for READY=1; fails at once where the daemon ended."""
        assert self._process is not None
        process = self._process
        await until(lambda: "READY=1" in self.notified or process.returncode is not None, START_S)
        assert "READY=1" in self.notified, self.log

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait for the end; the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(30):
            return await self._process.wait()
