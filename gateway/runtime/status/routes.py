"""The server's routes: the page, health, metrics and the read-only API. Nothing here changes anything."""

from __future__ import annotations

import asyncio
import logging
import socket
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web

from gateway.runtime.status import metrics
from gateway.runtime.status.access import COOKIE, SESSION_S, Access, is_own_name, is_own_page
from gateway.runtime.status.login import LOGIN_POLICY, login_page
from gateway.runtime.status.openapi import description
from gateway.runtime.status.source import Selection, Source
from gateway.runtime.status.stream import ROWS, Streams

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PAGE: Final = Path(__file__).parent / "page"
_FILES: Final = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/sections.js": ("sections.js", "text/javascript"),
    "/dom.js": ("dom.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_OPEN: Final = frozenset({"/healthz", "/login"})
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Server": "gateway",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser would hide the origin of our own form, too
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_CHUNK: Final = 500  # tags rendered before the event loop gets its turn
_LARGEST: Final = 1_000_000


class Routes:
    """The handlers, and who may reach them."""

    def __init__(
        self, source: Source, access: Access, streams: Streams, keep_open: Callable[[web.Request], None]
    ) -> None:
        self._source = source
        self._access = access
        self._streams = streams
        self._keep_open = keep_open
        self._machine = socket.gethostname()
        self._files = {path: (_PAGE / name).read_bytes() for path, (name, _) in _FILES.items()}

    def application(self) -> web.Application:
        """The routes behind the access check."""
        application = web.Application(middlewares=[self._checked], client_max_size=4096)
        application.add_routes(
            [
                *(web.get(path, self._file) for path in _FILES),
                web.get("/healthz", self._healthz),
                web.get("/metrics", self._metrics),
                web.get("/api/v1/health", self._listed(self._source.health)),
                web.get("/api/v1/devices", self._listed(lambda: {"devices": self._source.devices()})),
                web.get("/api/v1/tags", self._tags),
                web.get("/api/v1/upstreams", self._listed(lambda: {"upstreams": self._source.upstreams()})),
                web.get("/api/v1/losses", self._listed(self._source.losses)),
                web.get("/api/v1/events", self._listed(self._events)),
                web.get("/api/v1/openapi.json", self._listed(lambda: description(self._source.build["version"]))),
                web.get("/api/v1/stream", self._stream),
                web.post("/login", self._login),
                web.post("/logout", self._logout),
            ]
        )
        application.on_response_prepare.append(_add_headers)
        return application

    @web.middleware
    async def _checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if not self._access.required and not is_own_name(request.headers.get("Host", ""), self._machine):
                response: web.StreamResponse = _error(403, "ask for this machine by its own name or address")
            elif request.method == "POST" and not _is_own_form(request):
                response = _error(403, "forms of other pages are not taken")
            elif request.path in _OPEN or self._allowed(request):
                response = await handler(request)
            else:
                response = self._ask_for_token(request)
        except web.HTTPException as error:
            response = _error(error.status, error.reason, error.headers.get("Allow"))
        if not response.prepared:
            response.force_close()  # one request per connection: the gate counts on it
        return response

    def _allowed(self, request: web.Request) -> bool:
        headers = request.headers
        return self._access.allowed(
            headers.get("Authorization", ""), request.cookies.get(COOKIE, ""), request.remote or ""
        )

    def _ask_for_token(self, request: web.Request) -> web.Response:
        if request.path == "/" and request.method == "GET":
            return _login_form("")
        if "Authorization" in request.headers:
            log.warning("status page: wrong token from %s", request.remote)
        response = _error(401, "a token is required")
        response.headers["WWW-Authenticate"] = "Bearer"
        return response

    async def _file(self, request: web.Request) -> web.Response:
        return web.Response(body=self._files[request.path], content_type=_FILES[request.path][1], charset="utf-8")

    def _listed(self, take: Callable[[], Any]) -> Handler:
        async def handler(_: web.Request) -> web.Response:
            return _json(take())

        return handler

    def _events(self) -> dict[str, Any]:
        return {"events": self._source.events(), "log": self._source.log()}

    async def _healthz(self, request: web.Request) -> web.Response:
        health = self._source.health()
        down = [name for kind in ("devices", "upstreams") for name, link in health[kind].items() if not link["up"]]
        strict = _flag(request.query, "strict")
        shown = health if self._allowed(request) else {"status": health["status"]}
        failed = not health["live"] or (strict and (down or not health["ready"]))
        return _json(shown, 503 if failed else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        source = self._source
        body = metrics.render(source.counters, source.health(), source.build, source.certificates())
        return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _tags(self, request: web.Request) -> web.StreamResponse:
        """The rows in pieces, each rendered once the client took the one before: a slow reader costs one piece."""
        asked = _selection(request.query, _LARGEST)
        page = self._source.tags(replace(asked, limit=min(_CHUNK, asked.limit)))
        head = {"total": page.total, "offset": asked.offset}
        if len(page.rows) < _CHUNK:
            return _json({**head, "tags": page.rows})
        response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
        response.force_close()
        await response.prepare(request)
        await response.write(orjson.dumps(head)[:-1] + b',"tags":[' + _joined(page.rows))
        sent = _CHUNK
        while len(page.rows) == _CHUNK and sent < asked.limit:
            await asyncio.sleep(0)
            page = self._source.tags(replace(asked, offset=asked.offset + sent, limit=min(_CHUNK, asked.limit - sent)))
            sent += len(page.rows)
            if page.rows:
                await response.write(b"," + _joined(page.rows))
        await response.write(b"]}")
        return response

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        selection = _selection(request.query, ROWS)
        if self._streams.full:
            return _error(503, "too many pages are open")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        response.force_close()
        await response.prepare(request)
        self._keep_open(request)
        await self._streams.serve(request, response, selection)
        return response

    async def _login(self, request: web.Request) -> web.Response:
        address = request.remote or ""
        if request.content_type != "application/x-www-form-urlencoded":
            return _error(415, "expected a form")
        form = urllib.parse.parse_qs((await request.read()).decode(errors="replace"))
        if not self._access.token(form.get("token", [""])[0], address):
            log.warning("status page: wrong token from %s", address)
            if self._access.blocked(address):
                return _login_form("Too many wrong tokens. Wait a minute.", 429)
            return _login_form("That is not the token.")
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            COOKIE, self._access.session(), max_age=SESSION_S, path="/", httponly=True, samesite="Strict"
        )
        return response

    async def _logout(self, _: web.Request) -> web.Response:
        response = web.Response(status=303, headers={"Location": "/"})
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
        return response


def _is_own_form(request: web.Request) -> bool:
    headers = request.headers
    return is_own_page(headers.get("Sec-Fetch-Site", ""), headers.get("Origin", ""), headers.get("Host", ""))


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
    response.headers.setdefault("Content-Security-Policy", _POLICY)


def _json(data: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json")


def _joined(rows: list[Any]) -> bytes:
    return orjson.dumps(rows)[1:-1]


def _error(status: int, message: str, allow: str | None = None) -> web.Response:
    response = _json({"error": message}, status)
    if allow is not None:
        response.headers["Allow"] = allow
    return response


def _login_form(message: str, status: int = 401) -> web.Response:
    return web.Response(
        text=login_page(message),
        status=status,
        content_type="text/html",
        headers={"Content-Security-Policy": LOGIN_POLICY},
    )


def _selection(query: Mapping[str, str], most: int) -> Selection:
    try:
        offset, limit = int(query.get("offset", "0")), int(query.get("limit", str(most)))
    except ValueError:
        raise web.HTTPBadRequest(reason="offset and limit are whole numbers") from None
    if not 0 <= offset <= _LARGEST or not 1 <= limit <= most:
        raise web.HTTPBadRequest(reason=f"expected offset from 0 to {_LARGEST} and limit from 1 to {most}")
    device, search = query.get("device", ""), query.get("search", "")
    return Selection(device, search, _flag(query, "poor"), offset, limit, _flag(query, "trend"))


def _flag(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "0")
    if value not in {"0", "1"}:
        raise web.HTTPBadRequest(reason=f"{name} is 0 or 1")
    return value == "1"
