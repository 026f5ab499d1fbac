"""The devices of any configuration, simulated on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from ruamel.yaml import YAML

from gateway.config import load
from gateway.config.configuration import Configuration
from gateway.tools.simulate import build, rewired


@asynccontextmanager
async def simulated(file: Path, folder: Path) -> AsyncIterator[Configuration]:
    """A configuration's devices on loopback, and the configuration with their addresses."""
    configuration, text = load(file), file.read_text()  # noqa: ASYNC240  # a small local file
    parts = build(configuration)
    async with AsyncExitStack() as stack:
        for part in parts:
            await stack.enter_async_context(part.serve(remap=True))
            await part.refresh(10.0)
        copy = folder / "remapped.yaml"
        YAML().dump(rewired(text, parts), copy)
        yield load(copy)
