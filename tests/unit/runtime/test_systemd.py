from __future__ import annotations

import asyncio
import os
import socket
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.runtime.systemd import Notifier, library_sender, native_sender


class Receiver:
    def __init__(self, address: str) -> None:
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.channel.bind("\0" + address[1:] if address.startswith("@") else address)
        self.channel.settimeout(10)

    def next(self) -> str:
        return self.channel.recv(65536).decode()


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@gateway-test-{os.getpid()}-{tmp_path.name}"


@pytest.fixture
def receiver(address: str) -> Iterator[Receiver]:
    receiver = Receiver(address)
    yield receiver
    receiver.channel.close()


def test_messages_as_sd_notify_defines_them(address: str, receiver: Receiver) -> None:
    notifier = Notifier(native_sender(address), None)
    notifier.ready()
    assert receiver.next() == "READY=1"
    notifier.watchdog()
    assert receiver.next() == "WATCHDOG=1"
    notifier.stopping()
    assert receiver.next() == "STOPPING=1"
    notifier.extend_timeout(30)
    assert receiver.next() == "EXTEND_TIMEOUT_USEC=30000000"
    notifier.reloading()
    first, second = receiver.next().split("\n")
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=")
    assert int(second.partition("=")[2]) > 0


def test_a_devices_text_cannot_forge_a_message() -> None:
    sent: list[str] = []
    Notifier(sent.append, None).status("press\nSTOPPING=1\x00")
    assert sent == ["STATUS=press\\x0aSTOPPING=1\\x00"]


def test_status_on_change_and_at_most_every_five_seconds() -> None:
    sent: list[str] = []
    now = 100.0
    notifier = Notifier(sent.append, None, lambda: now)
    notifier.status("a")
    notifier.status("b")
    now = 105.0
    notifier.status("b")
    now = 200.0
    notifier.status("b")
    assert sent == ["STATUS=a", "STATUS=b"]


def test_without_a_socket_nothing_is_sent() -> None:
    notifier = Notifier.from_environment({"WATCHDOG_USEC": "30000000"})
    notifier.ready()
    assert not notifier.active
    assert notifier.watchdog_s is None


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_meant_for_this_process(environ: dict[str, str], seconds: float | None) -> None:
    assert Notifier.from_environment({"NOTIFY_SOCKET": "@x", **environ}).watchdog_s == seconds


def test_a_vanished_socket_is_no_error(tmp_path: Path) -> None:
    native_sender(str(tmp_path / "gone"))("READY=1")


def test_the_library_is_used_where_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    package, module = types.ModuleType("systemd"), types.ModuleType("systemd.daemon")
    module.notify = sent.append  # type: ignore[attr-defined]  # a stand-in for systemd-python
    monkeypatch.setitem(sys.modules, "systemd", package)
    monkeypatch.setitem(sys.modules, "systemd.daemon", module)
    Notifier.from_environment({"NOTIFY_SOCKET": "/nowhere"}).ready()
    assert sent == ["READY=1"]


def test_without_the_library_there_is_no_library_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "systemd.daemon", None)
    assert library_sender() is None


async def test_extending_asks_at_once_and_stops_with_the_block() -> None:
    sent: list[str] = []
    async with Notifier(sent.append, None).extending():
        await asyncio.sleep(0)
        assert sent == ["EXTEND_TIMEOUT_USEC=30000000"]
    assert len(asyncio.all_tasks()) == 1
