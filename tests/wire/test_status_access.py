"""Who may look at the status server, and who may not: tokens, logins, strangers' names and pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, CookieJar

from gateway.errors import LinkError
from gateway.runtime.status.server import StatusServer
from gateway.runtime.status.settings import StatusSettings
from tests.fakes.status import FakePlant
from tests.fakes.status_client import Client

TOKEN = "a-token-of-good-length"  # noqa: S105  # a test's token
API = [f"/api/v1/{name}" for name in ("health", "devices", "tags", "upstreams", "losses", "events", "openapi.json")]


@pytest.fixture
def plant() -> FakePlant:
    plant = FakePlant(more=1200)
    plant.move(0)
    plant.incident()
    return plant


@pytest.fixture
async def client(plant: FakePlant) -> AsyncIterator[Client]:
    async with (
        StatusServer(StatusSettings(listen="127.0.0.1:0"), plant.view) as server,
        ClientSession(cookie_jar=CookieJar(unsafe=True)) as http,
    ):
        yield Client(server, plant, http)


@pytest.fixture
async def locked(plant: FakePlant, tmp_path: Path) -> AsyncIterator[Client]:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    settings = StatusSettings.model_validate({"listen": "127.0.0.1:0", "token": {"file": tmp_path / "token"}})
    async with (
        StatusServer(settings, plant.view) as server,
        ClientSession(cookie_jar=CookieJar(unsafe=True)) as http,
    ):
        yield Client(server, plant, http)


async def test_a_strangers_name_for_this_machine_is_refused(client: Client) -> None:
    assert (await client.get("/api/v1/tags", headers={"Host": "rebound.example"})).status == 403
    assert (await client.get("/api/v1/tags", headers={"Host": "localhost"})).status == 200


async def test_without_the_token_only_health_and_no_details(locked: Client) -> None:
    for path in ["/metrics", "/api/v1/stream", "/page.js", "/nothing", *API]:
        response = await locked.get(path)
        assert response.status == 401, path
        assert response.headers["WWW-Authenticate"] == "Bearer"
    health = await locked.get("/healthz")
    assert (health.status, await health.json()) == (200, {"status": "degraded"})


async def test_with_the_token(locked: Client, caplog: pytest.LogCaptureFixture) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for path in ["/", "/metrics", *API]:
        assert (await locked.get(path, headers=bearer)).status == 200
    assert "devices" in await (await locked.get("/healthz", headers=bearer)).json()
    assert (await locked.get("/metrics", headers={"Authorization": "Bearer wrong"})).status == 401
    assert "wrong token from 127.0.0.1" in caplog.text
    assert TOKEN not in caplog.text


async def test_a_browser_signs_in(locked: Client) -> None:
    form = await locked.get("/")
    assert form.status == 401
    assert 'action="/login"' in await form.text()
    wrong = await locked.http.post(f"{locked.url}/login", data={"token": "wrong"}, allow_redirects=False)
    assert wrong.status == 401
    right = await locked.http.post(f"{locked.url}/login", data={"token": TOKEN}, allow_redirects=False)
    assert (right.status, right.headers["Location"]) == (303, "/")
    cookie = right.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert (await locked.get("/api/v1/health")).status == 200
    await locked.http.post(f"{locked.url}/logout", allow_redirects=False)
    assert (await locked.get("/api/v1/health")).status == 401


@pytest.mark.parametrize("path", ["/login", "/logout"])
async def test_a_form_of_another_page_is_not_taken(locked: Client, path: str) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await locked.http.post(
            locked.url + path, data={"token": "wrong"}, headers=headers, allow_redirects=False
        )
        assert (answer.status, answer.headers.get("Set-Cookie")) == (403, None)
    answer = await locked.http.post(f"{locked.url}/login", data={"token": TOKEN}, allow_redirects=False)
    assert answer.status == 303  # and nobody was locked out by the stranger's guesses


async def test_guessing_is_slowed_down(locked: Client) -> None:
    for _ in range(10):
        await locked.http.post(f"{locked.url}/login", data={"token": "wrong"})
    answer = await locked.http.post(f"{locked.url}/login", data={"token": TOKEN}, allow_redirects=False)
    assert answer.status == 429


async def test_a_large_form_is_refused(locked: Client) -> None:
    answer = await locked.http.post(f"{locked.url}/login", data={"token": "x" * 6000}, allow_redirects=False)
    assert answer.status == 413


async def test_no_secret_in_any_answer(locked: Client) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for path in ["/", "/healthz", "/metrics", *API]:
        assert TOKEN not in await (await locked.get(path, headers=bearer)).text()


async def test_a_missing_token_keeps_the_page_away(plant: FakePlant, tmp_path: Path) -> None:
    settings = StatusSettings.model_validate({"listen": "127.0.0.1:0", "token": {"file": tmp_path / "none"}})
    with pytest.raises(LinkError, match="token can't be read"):
        await StatusServer(settings, plant.view).__aenter__()


@pytest.mark.parametrize("text", ["changeme", "", "\n"])
async def test_a_token_that_is_none_keeps_the_page_away(plant: FakePlant, tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    settings = StatusSettings.model_validate({"listen": "127.0.0.1:0", "token": {"file": tmp_path / "token"}})
    with pytest.raises(LinkError, match="is a placeholder"):
        await StatusServer(settings, plant.view).__aenter__()
