"""Coming to a connection: names, addresses that are dead, servers that stall, and what is closed when given up."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from gateway.runtime.supervise import Backoff
from gateway.upstream import connect as connect_module
from gateway.upstream import session as session_module
from tests.fakes.broker import ScriptedBroker
from tests.fakes.upstream.delivery import FakeDelivery, block, plant
from tests.fakes.upstream.running import running
from tests.fakes.waiting import until

TABLE = plant()
Address = tuple[Any, ...]


@contextmanager
def black_hole() -> Iterator[Address]:
    """An address that answers no connection attempt: a listener whose backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        place = listener.getsockname()
        for _ in range(3):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(place)
        yield (socket.AF_INET, socket.SOCK_STREAM, 6, "", place)


def resolved(monkeypatch: pytest.MonkeyPatch, *addresses: Address) -> None:
    """Every name has these addresses."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: list(addresses))


async def test_dead_addresses_do_not_hold_up_the_living_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedBroker() as broker:
        with black_hole() as first, black_hole() as second:
            alive = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", broker.port))
            resolved(monkeypatch, first, second, *[first] * 6, alive)
            delivery = FakeDelivery([block(0, TABLE)])
            began = time.monotonic()
            async with running("mqtt://broker.example:1", delivery, table=TABLE, insecure=True):
                await until(lambda: not delivery.left)
            assert time.monotonic() - began < 4.5  # one address after the other would take 40 s


async def test_no_address_that_answers_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect_module, "HANDSHAKE_TIMEOUT_S", 0.3)
    with black_hole() as dead:
        resolved(monkeypatch, dead)
        async with running("mqtt://broker.example:1", FakeDelivery(), table=TABLE, insecure=True) as up:
            await until(lambda: "timed out" in up.counters.reason.lower())


async def test_a_port_nobody_listens_on_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with running(f"mqtt://127.0.0.1:{port}", FakeDelivery(), table=TABLE) as up:
        await until(lambda: up.counters.reason == "Connection refused")


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
async def test_ipv6() -> None:
    async with ScriptedBroker(host="::1") as broker:
        delivery = FakeDelivery([block(0, TABLE)])
        async with running(broker.url, delivery, table=TABLE):
            await until(lambda: not delivery.left)


async def test_name_lookups_that_hang_are_few_and_hold_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "CONNECT_TIMEOUT_S", 0.05)
    hanging: list[str] = []
    answer: Future[list[Address]] = Future()
    real = socket.getaddrinfo

    def lookup(host: str, *args: Any, **more: Any) -> Any:
        if host != "broker.example":
            return real(host, *args, **more)
        hanging.append(host)
        return answer.result(30)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    stuck = FakeDelivery([block(0, TABLE)])
    async with ScriptedBroker() as broker:
        backoff = Backoff(0.01, 0.02)
        async with running(
            "mqtt://broker.example:1", stuck, table=TABLE, insecure=True, backoff=backoff, patience=0.1
        ) as lost:
            await until(lambda: "lookups hang" in lost.counters.reason)
            assert len(hanging) == connect_module.MAX_HANGING
            delivery = FakeDelivery([block(0, TABLE)])
            async with running(broker.url, delivery, table=TABLE):
                await until(lambda: not delivery.left)
            answer.set_result([(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", broker.port))])
            await until(lambda: not stuck.left)  # the lookups end, the next attempt comes through
        assert len(broker.connects) == 2  # what came about after it was given up never said CONNECT


@pytest.mark.parametrize("scheme", ["mqtts", "wss", "ws"])
async def test_a_handshake_that_stalls_is_hung_up_when_given_up(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "CONNECT_TIMEOUT_S", 0.2)
    ended: list[float] = []
    loop = asyncio.get_running_loop()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = loop.time()
        while await reader.read(4096):
            pass
        ended.append(loop.time() - began)
        writer.close()

    async with await asyncio.start_server(stall, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with running(f"{scheme}://localhost:{port}", FakeDelivery(), table=TABLE) as up:
            await until(lambda: "no connection within" in up.counters.reason)
            await until(lambda: bool(ended))
            assert ended[0] < 2.0  # the thread itself would wait 5 s


async def test_bytes_behind_the_brokers_disconnect_are_left_alone() -> None:
    async with ScriptedBroker() as broker:
        delivery = FakeDelivery([block(0, TABLE)])
        async with running(broker.url, delivery, table=TABLE) as up:
            await until(lambda: not delivery.left)
            broker.send(b"\xe0\x01\x8b" + b"\xd0\x00" * 3)  # shutting down, and more in the same segment
            await until(lambda: "shutting down" in up.counters.reason)
            delivery.append(block(1, TABLE))
            await until(lambda: not delivery.left)
