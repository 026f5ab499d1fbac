"""A real headless Chromium, driven through chromedriver's WebDriver protocol; nothing but the standard library."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
]


class Browser:
    """One window. Calls block: use `asyncio.to_thread` beside a server in the same process."""

    def __init__(self, base: str, session: str) -> None:
        self._base = f"{base}/session/{session}"

    def open(self, url: str) -> None:
        _post(f"{self._base}/url", {"url": url})

    def script(self, body: str) -> Any:
        """Run the body of a function in the page; its result as JSON."""
        return _post(f"{self._base}/execute/sync", {"script": body, "args": []})

    def until(self, body: str, seconds: float = 20.0) -> Any:
        """Run it until it gives something true."""
        end = time.monotonic() + seconds
        while not (found := self.script(body)):
            if time.monotonic() > end:
                raise AssertionError(f"never true: {body}\n{self.script('return document.body.innerText')}")
            time.sleep(0.05)
        return found

    def type(self, selector: str, text: str) -> None:
        """Type into a field as a person would."""
        _post(f"{self._base}/element/{self._find(selector)}/value", {"text": text})

    def click(self, selector: str) -> None:
        _post(f"{self._base}/element/{self._find(selector)}/click", {})

    def view(self, width: int, height: int, scheme: str = "light") -> None:
        """The size of the viewport, and the theme the system prefers."""
        self._cdp(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        self._cdp("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def screenshot(self, path: Path) -> None:
        shot = self._cdp("Page.captureScreenshot", {"captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """What the console said that is worse than information."""
        lines = _post(f"{self._base}/se/log", {"type": "browser"})
        return [line["message"] for line in lines if line["level"] in {"WARNING", "SEVERE"}]

    def _find(self, selector: str) -> str:
        found = _post(f"{self._base}/element", {"using": "css selector", "value": selector})
        return str(next(iter(found.values())))

    def _cdp(self, command: str, params: dict[str, Any]) -> Any:
        return _post(f"{self._base}/goog/cdp/execute", {"cmd": command, "params": params})


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser for the block; its driver and window end with it."""
    assert CHROMIUM
    assert DRIVER
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        driver = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            options = {"binary": CHROMIUM, "args": [*_FLAGS, f"--user-data-dir={profile}"]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            _wait_for(base)
            session = _post(f"{base}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            yield Browser(base, session)
            _call(f"{base}/session/{session}", "DELETE", None)
        finally:
            driver.terminate()
            driver.wait(timeout=20)


def _wait_for(base: str) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            _call(f"{base}/status", "GET", None)
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def _post(url: str, body: dict[str, Any]) -> Any:
    return _call(url, "POST", body)


def _call(url: str, method: str, body: dict[str, Any] | None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310  # own driver
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # own driver
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode(errors="replace")) from error
