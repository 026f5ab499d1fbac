"""The page in a real browser: live figures, both themes, a phone's width, no complaint in the console."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.runtime.status.server import StatusServer
from gateway.runtime.status.settings import StatusSettings
from gateway.runtime.status.view import DeviceFacts, Plant
from tests.fakes.browser import CHROMIUM, DRIVER, Browser, browser
from tests.fakes.status import FakePlant

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="THE PAGE WAS NOT LOOKED AT: no chromium and chromedriver"
)
SECTIONS = ("overview", "devices", "tags", "upstreams", "losses", "events", "log")
LIVE = "return document.getElementById('name').textContent == 'welding-cell-3'"
CURRENT_IS_SEEN = """
const place = document.querySelector("nav a[aria-current]").getBoundingClientRect();
return place.left >= 0 && place.right <= innerWidth;
"""
CONTRAST = """
function light(text) {
  const [r, g, b] = text.match(/[0-9.]+/g).map((part) => part / 255)
    .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function behind(node) {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (!colour.endsWith(", 0)")) return colour;
  }
  return "rgb(255, 255, 255)";
}
return [...document.querySelectorAll("body *")].filter((node) => node.checkVisibility() && !node.disabled
    && [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())
    && !node.closest(".quiet, .skip, noscript, option"))
  .map((node) => {
    const one = light(getComputedStyle(node).color), other = light(behind(node));
    return [(Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05), node.textContent];
  })
  .filter(([ratio]) => ratio < 4.5);
"""


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def plant() -> FakePlant:
    plant = FakePlant(more=250)
    for second in range(70):
        plant.move(second * 10)
    plant.incident()
    return plant


@pytest.fixture
async def url(plant: FakePlant) -> AsyncIterator[str]:
    async with StatusServer(StatusSettings(listen="127.0.0.1:0"), plant.view) as server:
        assert server.address is not None
        yield server.address.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_every_section_fits_and_can_be_read(window: Browser, url: str, width: int, scheme: str) -> None:
    def look() -> None:
        window.view(width, 844, scheme)
        window.open("about:blank")
        window.complaints()  # of an earlier test's server that has gone
        for section in SECTIONS:
            window.open("about:blank")
            window.open(f"{url}/#{section}")
            window.until(LIVE)
            assert window.script("return document.documentElement.scrollWidth <= innerWidth"), section
            assert window.script(CONTRAST) == [], section
            assert window.script("return document.querySelectorAll('main > section:not([hidden])').length") == 1
            assert window.script(CURRENT_IS_SEEN), section
        assert window.complaints() == []

    await asyncio.to_thread(look)


async def test_figures_are_live(window: Browser, url: str, plant: FakePlant) -> None:
    async def live() -> None:
        second = 0
        while True:
            plant.move(second := second + 1)
            await asyncio.sleep(1)

    def look() -> None:
        window.view(1280, 900)
        window.open(f"{url}/#overview")
        seen = window.until("return document.getElementById('flow').innerText.match(/\\S+(?= readings)/)?.[0]")
        assert seen != "0", "one moment has no rate"
        window.until("return /\\d readings/.test(document.getElementById('flow').innerText)")
        window.until("return document.querySelector('#figures .spark path')")
        assert "meter-2 is down" in window.script("return document.getElementById('reasons').innerText")
        assert window.script("return document.getElementById('state').innerText") == "needs attention"

    moving = asyncio.create_task(live())
    try:
        await asyncio.to_thread(look)
    finally:
        moving.cancel()


async def test_a_backlog_grows_and_drains(window: Browser, url: str, plant: FakePlant) -> None:
    draining = False

    async def live() -> None:
        second = 0
        while True:
            plant.move(second := second + 1)
            if draining:
                plant.counters.upstream("cloud").backlog -= 2190
            await asyncio.sleep(1)

    card = "return document.querySelector('[aria-label=cloud]').innerText"
    plant.counters.upstream("cloud").backlog = 500_000
    moving = asyncio.create_task(live())
    try:
        await asyncio.to_thread(window.view, 1280, 900)
        await asyncio.to_thread(window.open, f"{url}/#upstreams")
        await asyncio.to_thread(window.until, f"{card}.includes(', growing')")
        delivers = r"return /Delivers\s+\d\d+ readings/.test(document.querySelector('[aria-label=plant]').innerText)"
        await asyncio.to_thread(window.until, delivers)
        draining = True
        await asyncio.to_thread(window.until, f"{card}.includes(', empty in about ')", 30)
    finally:
        moving.cancel()


async def test_tags_by_device_search_and_page(window: Browser, url: str) -> None:
    def look() -> None:
        window.view(1280, 900)
        window.open("about:blank")
        window.open(f"{url}/#tags")
        range_text = "return document.getElementById('tag-range').textContent"
        window.until(f"{range_text} == '1\\u2013100 of 259'")
        window.click("#tag-next")
        window.until(f"{range_text} == '101\\u2013200 of 259'")
        window.type("#tag-search", "power")
        window.until(f"{range_text} == '1\\u20132 of 2'")
        window.click("#tag-poor")
        window.until(f"{range_text} == '1\\u20131 of 1'")
        assert window.script("return document.querySelector('#rows-tags').innerText.includes('bad: timeout')")
        window.script(
            "const box = document.getElementById('tag-device'); box.value = 'meter-2';"
            "box.dispatchEvent(new Event('change'))"
        )
        window.until(f"{range_text} == '1\\u20131 of 1'")

    await asyncio.to_thread(look)


async def test_many_devices_with_long_names(window: Browser, url: str, plant: FakePlant) -> None:
    """What is down comes first and says why; nothing is wider than a phone."""
    name = "ultrasonic-welder-of-the-second-shift-in-the-battery-welding-hall"
    facts = {f"{name}-{number}": DeviceFacts(f"connection-of-{name}", "modbus-tcp", 1.0) for number in range(60)}
    plant.view.plant = Plant(plant.table, facts, plant.view.plant.upstreams)
    for device in facts:
        plant.counters.device(device).up = True
    dead = plant.counters.device(f"{name}-59")
    dead.up, dead.reason, dead.detail = False, "link", "/dev/serial/by-id/usb-FTDI_FT232R: there is no such port"
    tags = [f"{name}-{number}.{'average_temperature_of_the_left_electrode' * 2}" for number in range(9)]
    loss = {"event": "loss", "time": 1, "seq": 50, "reason": "spool_full", "from": 1, "to": 2, "count": 9, "tags": tags}
    plant.view.event(loss)
    plant.view.event({"event": "alarm", "time": 1, "seq": 51, "tag": tags[0], "change": "raised", "value": 1 / 3})

    def look() -> None:
        window.view(390, 844)
        for section in ("overview", "devices", "losses", "events"):
            window.open("about:blank")
            window.open(f"{url}/#{section}")
            window.until(LIVE)
            window.until(f"return document.getElementById('{section}').innerText.includes('{name}')")
            assert window.script("return document.documentElement.scrollWidth <= innerWidth"), section
        assert "alarm raised" in window.script("return document.getElementById('rows-events').innerText")
        assert "value: 0.333333" in window.script("return document.getElementById('rows-events').innerText")
        window.open("about:blank")
        window.open(f"{url}/#overview")
        window.until(LIVE)
        chips = window.script("return [...document.querySelectorAll('#chips-devices li')].map((one) => one.innerText)")
        assert (len(chips), chips[0], chips[-1]) == (25, f"{name}-59", "and 36 more")
        window.open(f"{url}/#devices")
        window.until("return document.querySelector('#rows-devices tr').innerText.includes('there is no such port')")
        window.type("#device-search", "HALL-7")
        window.until("return document.querySelectorAll('#rows-devices tr').length == 1")

    await asyncio.to_thread(look)


async def test_text_from_devices_stays_text(window: Browser, url: str, plant: FakePlant) -> None:
    markup = "<img src=x onerror=\"document.title='owned'\">"
    plant.lines.append({"number": 9, "time": 0, "level": "error", "message": markup})
    plant.counters.device("meter-2").reason = markup

    def look() -> None:
        window.open("about:blank")
        window.open(f"{url}/#log")
        window.until("return document.getElementById('rows-log').innerText.includes('onerror')")
        assert window.script("return document.querySelectorAll('main img').length") == 0
        assert window.script("return document.title") != "owned"

    await asyncio.to_thread(look)


async def test_a_daemon_that_goes_away_is_noticed_and_found_again(window: Browser, plant: FakePlant) -> None:
    async with StatusServer(StatusSettings(listen="127.0.0.1:0"), plant.view) as server:
        assert server.address is not None
        address = server.address
        await asyncio.to_thread(window.open, address.url)
        await asyncio.to_thread(window.until, LIVE)
    state = "return document.getElementById('state').dataset.state"
    note = "const note = document.getElementById('stale'); return note.hidden ? '' : note.innerText"
    await asyncio.to_thread(window.until, f"{state} == 'lost'")
    assert "No connection to the gateway: these figures are those of 2" in await asyncio.to_thread(window.script, note)
    async with StatusServer(StatusSettings(listen=f"127.0.0.1:{address.port}"), plant.view):
        await asyncio.to_thread(window.until, f"{state} == 'degraded'")
        assert await asyncio.to_thread(window.script, note) == ""
    window.complaints()


async def test_signing_in(window: Browser, plant: FakePlant, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token-of-good-length")
    settings = StatusSettings.model_validate({"listen": "127.0.0.1:0", "token": {"file": tmp_path / "token"}})
    async with StatusServer(settings, plant.view) as server:
        assert server.address is not None
        url = server.address.url

        def look() -> None:
            window.open(url)
            window.type("#token", "wrong")
            window.click("button")
            assert "not the token" in window.until(
                "const alert = document.querySelector('[role=alert]'); return alert && alert.textContent"
            )
            window.type("#token", "a-token-of-good-length")
            window.click("button")
            window.until(f"return document.getElementById('name') && (() => {{ {LIVE} }})()")
            assert window.script("return document.cookie") == ""

        await asyncio.to_thread(look)
