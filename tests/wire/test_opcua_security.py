"""OPC UA channels and logins: every policy with a pinned certificate, and what must not get through."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from asyncua import ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.user_managers import CertificateUserManager

from gateway.readings import Quality
from gateway.tools.pki import Identity, create
from tests.fakes.opcua import OpcuaServer, nodes, running, serving
from tests.fakes.waiting import until

POLICIES = ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")


class Pki(NamedTuple):
    """Certificates of both ends, and a stranger's."""

    own: Identity
    server: Identity
    other: Identity


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    base = tmp_path_factory.mktemp("pki")
    return Pki(
        create(base / "own", "urn:tests:gateway"),
        create(base / "server", "urn:tests:server"),
        create(base / "other", "urn:tests:server"),
    )


class OneUser:
    """Lets one user in."""

    def get_user(self, iserver: Any, username: str | None = None, password: str | None = None, **_: Any) -> User | None:
        right = username == "gateway" and password == "sesame"  # noqa: S105  # a test's
        return User(role=UserRole.Admin) if right else None


def secured(pki: Pki, *types: str) -> OpcuaServer:
    server = OpcuaServer({"a": 6.0})
    server.policies = [ua.SecurityPolicyType[name] for name in types]
    server.certificate, server.key = pki.server.certificate, pki.server.private_key
    return server


def security(pki: Pki, policy: str, mode: str = "SignAndEncrypt", server: Path | None = None) -> dict[str, Any]:
    return {
        "policy": policy,
        "mode": mode,
        "certificate": pki.own.certificate,
        "private_key": pki.own.private_key,
        "server_certificate": server or pki.server.certificate,
    }


@pytest.mark.parametrize("mode", ["Sign", "SignAndEncrypt"])
async def test_every_policy_works_with_the_pinned_certificate(pki: Pki, mode: str) -> None:
    async with serving(secured(pki, *(f"{name}_{mode}" for name in POLICIES))) as server:
        for policy in POLICIES:
            devices = {"plc": {"publish": "50ms", "tags": nodes("a")}}
            async with running(server.endpoint, devices, security=security(pki, policy, mode)) as (_, port):
                await port.wait(lambda port=port: port.values("plc.a") == [6.0])  # type: ignore[misc]


async def test_a_server_with_another_certificate_is_not_talked_to(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(secured(pki, "Basic256Sha256_SignAndEncrypt")) as server:
        devices = {"plc": {"mode": "poll", "tags": nodes("a")}}
        wrong = security(pki, "Basic256Sha256", server=pki.other.certificate)
        async with running(server.endpoint, devices, security=wrong) as (_, port):
            await port.wait(lambda: len(port.of("plc.a")) >= 3)
            assert port.qualities("plc.a") == {Quality.BAD_LINK}
    assert "down" in caplog.text


@pytest.mark.parametrize("whose", ["own", "server"])
async def test_an_expired_certificate_is_refused(
    pki: Pki, tmp_path: Path, whose: str, caplog: pytest.LogCaptureFixture
) -> None:
    expired = create(tmp_path, f"urn:tests:{'gateway' if whose == 'own' else 'server'}", days=0)
    server = secured(pki, "Basic256Sha256_SignAndEncrypt")
    keys = security(pki, "Basic256Sha256")
    if whose == "own":
        keys |= {"certificate": expired.certificate, "private_key": expired.private_key}
    else:
        server.certificate, server.key = expired.certificate, expired.private_key
        keys |= {"server_certificate": expired.certificate}
    async with serving(server):
        devices = {"plc": {"mode": "poll", "tags": nodes("a")}}
        async with running(server.endpoint, devices, security=keys) as (_, port):
            await port.wait(lambda: len(port.of("plc.a")) >= 2)
            assert port.qualities("plc.a") == {Quality.BAD_LINK}
    assert "expired on" in caplog.text


async def test_plain_text_beyond_this_machine_is_said_at_each_start(caplog: pytest.LogCaptureFixture) -> None:
    devices = {"plc": {"mode": "poll", "tags": nodes("a")}}
    for _ in range(2):
        async with running("opc.tcp://192.0.2.1:4840", devices, insecure=True):
            await until(lambda: "values come unencrypted" in caplog.text)
        caplog.clear()
    async with running("opc.tcp://127.0.0.1:9", devices) as (_, port):
        await port.wait(lambda: len(port.of("plc.a")) >= 1)
    assert "unencrypted" not in caplog.text


async def test_a_plain_endpoint_is_never_taken_instead(pki: Pki) -> None:
    server = OpcuaServer({"a": 6.0})
    async with serving(server):
        devices = {"plc": {"mode": "poll", "tags": nodes("a")}}
        async with running(server.endpoint, devices, security=security(pki, "Basic256Sha256")) as (_, port):
            await port.wait(lambda: len(port.of("plc.a")) >= 3)
            assert port.qualities("plc.a") == {Quality.BAD_LINK}


async def test_user_and_password_log_in_and_a_wrong_password_is_named(
    pki: Pki, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = secured(pki, "Basic256Sha256_SignAndEncrypt")
    server.user_manager = OneUser()
    server.tokens = [ua.UserNameIdentityToken]
    async with serving(server):
        monkeypatch.setenv("GOOD", "sesame")
        monkeypatch.setenv("WRONG", "open")
        devices = {"plc": {"mode": "poll", "tags": nodes("a")}}
        keys: dict[str, Any] = {"security": security(pki, "Basic256Sha256"), "username": "gateway"}
        async with running(server.endpoint, devices, password={"env": "GOOD"}, **keys) as (_, port):
            await port.wait(lambda: 6.0 in port.values("plc.a"))
        async with running(server.endpoint, devices, password={"env": "WRONG"}, **keys) as (_, port):
            await port.wait(lambda: len(port.of("plc.a")) >= 2)
            assert port.qualities("plc.a") == {Quality.BAD_LINK}
    assert "BadUserAccessDenied" in caplog.text or "BadIdentityToken" in caplog.text
    assert "sesame" not in caplog.text
    assert "open" not in caplog.text.replace("opened", "").replace("opening", "")


async def test_a_user_certificate_logs_in(pki: Pki, tmp_path: Path) -> None:
    user = create(tmp_path, "urn:tests:user")
    server = secured(pki, "Basic256Sha256_SignAndEncrypt")
    users = CertificateUserManager()
    await users.add_role(user.certificate, UserRole.Admin, "gateway")
    server.user_manager = users
    server.tokens = [ua.X509IdentityToken]
    async with serving(server):
        devices = {"plc": {"mode": "poll", "tags": nodes("a")}}
        keys: dict[str, Any] = {"security": security(pki, "Basic256Sha256")}
        who: dict[str, Any] = {"user_certificate": user.certificate, "user_private_key": user.private_key}
        async with running(server.endpoint, devices, **keys, **who) as (_, port):
            await port.wait(lambda: 6.0 in port.values("plc.a"))
        stranger: dict[str, Any] = {
            "user_certificate": pki.other.certificate,
            "user_private_key": pki.other.private_key,
        }
        async with running(server.endpoint, devices, **keys, **stranger) as (_, port):
            await port.wait(lambda: len(port.of("plc.a")) >= 2)
            assert port.qualities("plc.a") == {Quality.BAD_LINK}


async def test_the_keys_of_the_channel_are_renewed_under_way(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.field.opcua.session.CHANNEL_MS", 1000)
    async with serving(secured(pki, "Basic256Sha256_SignAndEncrypt")) as server:
        devices = {"plc": {"mode": "poll", "tags": nodes("a")}}
        async with running(server.endpoint, devices, security=security(pki, "Basic256Sha256")) as (_, port):
            await port.wait(lambda: bool(port.rows))
            start = port.rows[0].time_ns
            await port.wait(lambda: port.rows[-1].time_ns > start + 4_000_000_000)
    assert port.qualities("plc.a") == {Quality.GOOD}


async def test_a_missing_certificate_file_is_named_and_the_rest_goes_on(
    pki: Pki, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    devices = {"plc": {"mode": "poll", "tags": nodes("a")}}
    missing = security(pki, "Basic256Sha256", server=tmp_path / "absent.der")
    async with running("opc.tcp://127.0.0.1:9", devices, security=missing) as (_, port):
        await port.wait(lambda: len(port.of("plc.a")) >= 2)
    assert "absent.der: No such file" in caplog.text
