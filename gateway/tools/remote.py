"""`gateway write`, `reload`, `acknowledge` and `trace`: asking the running daemon through its control socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gateway.config import load
from gateway.config.document import parse
from gateway.config.root import GatewaySettings
from gateway.runtime.control import call, stream
from gateway.spool.settings import SpoolSettings

SOCKET: Final = "control.sock"
_DATABASE: Final = b"SQLite format 3\0"


def spool_of(file: Path) -> Path:
    """The spool's file of a configuration, or the file itself where it is a spool."""
    with file.open("rb") as opened:
        if opened.read(len(_DATABASE)) == _DATABASE:
            return file
    data = parse(file.read_text(encoding="utf-8")).data
    data = data if isinstance(data, dict) else {}
    spool = SpoolSettings.model_validate({"path": (data.get("spool") or {}).get("path")})
    name = GatewaySettings.model_validate({"name": (data.get("gateway") or {}).get("name")}).name
    return spool.place(name)


def socket_of(file: Path) -> Path:
    """Where the daemon of a configuration listens; even of one that is wrong now, as a reload may find it."""
    return spool_of(file).with_name(SOCKET)


def ask(file: Path, command: str, params: Mapping[str, Any]) -> Any:
    """The daemon's answer. ControlError with a sentence for the person."""
    return asyncio.run(call(socket_of(file), command, params))


def follow(file: Path, command: str, params: Mapping[str, Any]) -> None:
    """Print a stream's items, a line each, until Ctrl-C."""

    async def show() -> None:
        async for item in stream(socket_of(file), command, params):
            print(item, flush=True)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(show())


def typed(file: Path, tag: str, text: str) -> Any:
    """The value as JSON has it: text stays text for a text tag, else a number, true or false where it is one."""
    table = load(file).table
    index = table.find(tag)
    if index is not None and table[index].kind == "text":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
