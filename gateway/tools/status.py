"""`gateway status`: the running daemon in the terminal, through its control socket or its status page's address."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console
from rich.live import Live

from gateway.errors import GatewayError
from gateway.runtime.control import call
from gateway.runtime.printable import in_words
from gateway.tools.status_view import Moment, Rates, screen, span

EVERY_S: Final = 1.0
_TIMEOUT_S: Final = 10.0
_NO_ADDRESS: Final = "{} is no address of a status page: expected http://HOST:PORT"

Fetch = Callable[[], Awaitable[Moment]]


class StatusError(GatewayError):
    """The daemon can't be asked; the text is for the person."""


def show_status(source: Path | str, token: Path | None = None, *, as_json: bool = False) -> None:
    """Show a daemon by its control socket's path or by its status page's URL: once, or live in a terminal."""
    with contextlib.suppress(KeyboardInterrupt):
        secret = "" if token is None else token.read_text(encoding="utf-8").strip()
        asyncio.run(show(source, secret, as_json=as_json, console=Console()))


async def show(source: Path | str, token: str = "", *, as_json: bool = False, console: Console) -> None:
    """As `show_status`, on a console: until cancelled where that is a terminal."""
    async with _by_socket(source) if isinstance(source, Path) else _by_http(source, token) as fetch:
        first = await fetch()
        if as_json:
            print(json.dumps(first.as_json(), ensure_ascii=False))
        elif console.is_terminal:
            await _live(fetch, first, console)
        else:
            await asyncio.sleep(EVERY_S)
            now = await fetch()
            console.print(screen(now, Rates.between(first, now), console.width))


async def _live(fetch: Fetch, first: Moment, console: Console) -> None:
    """Until Ctrl-C. A daemon that goes away is waited for: its last figures stay, with a word that they are old."""
    clock = asyncio.get_running_loop().time
    moments, seen, trouble = [first], clock(), ""
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            now = moments[-1]
            rates = Rates() if trouble else Rates.between(moments[0], now)
            live.update(screen(now, rates, console.width, console.height - 1, trouble), refresh=True)
            await asyncio.sleep(EVERY_S)
            try:
                moments, seen, trouble = [*moments[-5:], await fetch()], clock(), ""
            except GatewayError as error:
                trouble = f"no answer for {span(clock() - seen)}: {error}"


@contextlib.asynccontextmanager
async def _by_socket(path: Path) -> AsyncIterator[Fetch]:
    async def fetch() -> Moment:
        answer = await call(path, "status", timeout_s=_TIMEOUT_S)
        return _moment(answer, answer["losses"], answer["events"])

    yield fetch


@contextlib.asynccontextmanager
async def _by_http(url: str, token: str) -> AsyncIterator[Fetch]:
    if not url.startswith(("http://", "https://")):
        raise StatusError(_NO_ADDRESS.format(url))
    url = url.rstrip("/")

    async def get(name: str) -> Any:
        try:
            async with session.get(f"{url}/api/v1/{name}") as response:
                if response.status == 401:
                    raise StatusError(f"{url} asks for its token: use --token FILE")
                if response.status != 200:
                    raise StatusError(f"{url} answers {response.status} {response.reason}")
                return await response.json()
        except TimeoutError as error:
            raise StatusError(f"{url} does not answer within {_TIMEOUT_S:g} s") from error
        except aiohttp.InvalidURL as error:
            raise StatusError(_NO_ADDRESS.format(url)) from error
        except aiohttp.ClientConnectorError as error:
            raise StatusError(f"{url} can't be asked: {in_words(error.os_error)}") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise StatusError(f"{url} can't be asked: {error}") from error

    async def fetch() -> Moment:
        answer = {"health": await get("health"), **await get("devices"), **await get("upstreams")}
        return _moment(answer, await get("losses"), (await get("events"))["events"])

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield fetch


def _moment(answer: dict[str, Any], losses: Any, events: Any) -> Moment:
    return Moment(answer["health"], answer["devices"], answer["upstreams"], losses, events)
