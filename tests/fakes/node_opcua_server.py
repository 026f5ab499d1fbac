"""A foreign OPC UA server: node-opcua in a process of its own, installed from npm into a cache at first use."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from tests.fakes.opcua import free_port

SOURCE = Path(__file__).with_name("node_opcua")
CACHE = Path(tempfile.gettempdir()) / "edge-gateway-node-opcua"


def missing() -> str:
    """Why it can't be had, empty where it can."""
    return "" if shutil.which("node") and shutil.which("npm") else "needs node and npm"


async def install() -> None:
    """Put the packages into the cache, unless they are there; RuntimeError with npm's words where that fails."""
    await asyncio.to_thread(CACHE.mkdir, exist_ok=True)
    for name in ("package.json", "server.js"):
        await asyncio.to_thread(shutil.copy, SOURCE / name, CACHE / name)
    if await asyncio.to_thread((CACHE / "node_modules/node-opcua-server").exists):
        return
    npm = await asyncio.create_subprocess_exec(
        "npm", "install", "--no-audit", "--no-fund", "--loglevel=error", cwd=CACHE, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await npm.communicate()
    if npm.returncode:
        raise RuntimeError(f"npm install: {errors.decode()}")


class NodeServer:
    """`nodes` numbers `ns=1;s=v0` ..., `rate` changes a second in all; `sent` follows the changes made."""

    def __init__(self, nodes: int, rate: int) -> None:
        self.nodes, self.rate = nodes, rate
        self.port = free_port()
        self.sent = 0
        self._process: asyncio.subprocess.Process | None = None
        self._follow: asyncio.Task[None] | None = None

    @property
    def endpoint(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/"

    async def start(self) -> None:
        """Start it, at the same port as before, and wait until it serves."""
        await install()
        process = self._process = await asyncio.create_subprocess_exec(
            "node", "server.js", str(self.port), str(self.nodes), str(self.rate),
            cwd=CACHE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while (line := await process.stdout.readline()) != b"ready\n":
                assert line, "the server ended"
        self._follow = asyncio.create_task(self._read(process.stdout))

    async def _read(self, output: asyncio.StreamReader) -> None:
        while line := await output.readline():
            if line.startswith(b"sent "):
                self.sent = int(line[5:])

    async def kill(self) -> None:
        """As a power cut does."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._follow is not None:
            await self._follow
