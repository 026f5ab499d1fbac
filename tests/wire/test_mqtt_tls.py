"""TLS never gives way: wrong host, expired or foreign certificates, and a port that hangs up on the hello."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.broker import ScriptedBroker
from tests.fakes.upstream.certificates import Authority
from tests.fakes.upstream.delivery import FakeDelivery, block, plant
from tests.fakes.upstream.running import running
from tests.fakes.waiting import until

TABLE = plant()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.mark.parametrize(
    ("host", "expired", "reason"),
    [
        ("elsewhere.example", False, "not valid for 'localhost'"),
        ("localhost", True, "expired"),
    ],
)
async def test_a_bad_certificate_is_refused(authority: Authority, host: str, expired: bool, reason: str) -> None:
    async with ScriptedBroker(tls=authority.server(host, expired=expired)) as broker:
        delivery = FakeDelivery([block(0, TABLE)])
        async with running(broker.url, delivery, table=TABLE, tls={"ca": authority.ca}, patience=0.1) as up:
            await until(lambda: reason in up.counters.reason)
        assert broker.connects == []
        assert delivery.left


async def test_a_certificate_signed_by_itself_is_refused(authority: Authority) -> None:
    async with ScriptedBroker(tls=authority.server("localhost", by_itself=True)) as broker:
        delivery = FakeDelivery([block(0, TABLE)])
        async with running(broker.url, delivery, table=TABLE, tls={"ca": authority.ca}, patience=0.1) as up:
            await until(lambda: "certificate refused" in up.counters.reason)
        assert broker.connects == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
async def test_a_broker_that_only_speaks_old_tls_is_refused(authority: Authority) -> None:
    context = authority.server("localhost")
    context.set_ciphers("ALL:@SECLEVEL=0")  # else this end would refuse it first
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    async with ScriptedBroker(tls=context) as broker:
        delivery = FakeDelivery([block(0, TABLE)])
        async with running(broker.url, delivery, table=TABLE, tls={"ca": authority.ca}, patience=0.1) as up:
            await until(lambda: "SSL" in up.counters.reason)
        assert broker.connects == []
    assert delivery.left


async def test_plain_text_is_said_at_each_start(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        async with running("mqtt://192.0.2.1", FakeDelivery(), table=TABLE, insecure=True, patience=0.1):
            await until(lambda: "unencrypted" in caplog.text)
        caplog.clear()
    async with running("mqtt://127.0.0.1:1", FakeDelivery(), table=TABLE, patience=0.1) as up:
        await until(lambda: bool(up.counters.reason))
    assert "unencrypted" not in caplog.text


async def test_an_unknown_authority_is_refused(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Authority(tmp_path_factory.mktemp("other"))
    async with ScriptedBroker(tls=other.server("localhost")) as broker:
        delivery = FakeDelivery([block(0, TABLE)])
        for tls in ({"ca": authority.ca}, None):  # ours, and the system's
            async with running(broker.url, delivery, table=TABLE, tls=tls, patience=0.1) as up:
                await until(lambda counters=up.counters: "certificate refused" in counters.reason)  # type: ignore[misc]
        assert broker.connects == []


async def test_a_port_that_hangs_up_is_never_spoken_to_in_plaintext(authority: Authority) -> None:
    heard: list[bytes] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        credentials: dict[str, Any] = {"username": "me", "password": {"env": "PATH"}}
        delivery = FakeDelivery([block(0, TABLE)])
        url = f"mqtts://localhost:{port}"
        async with running(url, delivery, table=TABLE, patience=0.1, tls={"ca": authority.ca}, **credentials):
            await until(lambda: len(heard) >= 3)
    assert all(hello[:2] == b"\x16\x03" for hello in heard)  # a TLS handshake record, each time


async def test_a_missing_file_is_an_outage_that_ends_when_it_comes(authority: Authority) -> None:
    missing = authority.folder / "later.pem"
    async with ScriptedBroker(tls=authority.server("localhost")) as broker:
        delivery = FakeDelivery([block(0, TABLE)])
        async with running(broker.url, delivery, table=TABLE, tls={"ca": missing}) as up:
            await until(lambda: "No such file" in up.counters.reason)
            missing.write_bytes(authority.ca.read_bytes())
            await until(lambda: not delivery.left)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("newest", "taken"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
async def test_below_tls_1_2_nothing_is_said(authority: Authority, newest: ssl.TLSVersion, taken: bool) -> None:
    context = authority.server("localhost")
    context.set_ciphers("ALL:@SECLEVEL=0")  # which the old versions need
    context.minimum_version = min(newest, ssl.TLSVersion.TLSv1_1)
    context.maximum_version = newest
    lax = ssl.create_default_context(cafile=str(authority.ca))
    lax.set_ciphers("ALL:@SECLEVEL=0")
    lax.minimum_version = ssl.TLSVersion.TLSv1
    async with ScriptedBroker(tls=context) as broker:
        _, writer = await asyncio.open_connection("localhost", broker.port, ssl=lax)  # whoever is lax is served
        writer.close()
        delivery = FakeDelivery([block(0, TABLE)])
        async with running(broker.url, delivery, table=TABLE, tls={"ca": authority.ca}, patience=0.1) as up:
            await until(lambda: not delivery.left or bool(up.counters.reason))
            assert up.counters.up is taken
        assert bool(broker.connects) is taken


async def test_the_password_comes_from_the_environment_or_a_credential(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mqtt").write_text("from the unit\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("GATEWAY_TEST_SECRET", "from the environment")
    async with ScriptedBroker(tls=authority.server("localhost")) as broker:
        for reference in ({"env": "GATEWAY_TEST_SECRET"}, {"credential": "mqtt"}):
            delivery = FakeDelivery([block(0, TABLE)])
            secret: dict[str, Any] = {"username": "me", "password": reference, "tls": {"ca": authority.ca}}
            async with running(broker.url, delivery, table=TABLE, **secret):
                await until(lambda left=delivery: not left.left)  # type: ignore[misc]  # a default binds
        assert [connect.password for connect in broker.connects] == [b"from the environment", b"from the unit"]


async def test_alpn_is_offered(authority: Authority) -> None:
    context = authority.server("localhost")
    context.set_alpn_protocols(["http/1.1", "x-amzn-mqtt-ca"])
    async with ScriptedBroker(tls=context) as broker:
        delivery = FakeDelivery([block(0, TABLE)])
        tls = {"ca": authority.ca, "alpn": "x-amzn-mqtt-ca"}
        async with running(broker.url, delivery, table=TABLE, tls=tls):
            await until(lambda: not delivery.left)
        assert broker.alpn == ["x-amzn-mqtt-ca"]
