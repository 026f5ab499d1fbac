"""`gateway pki server` against a secured server and one without security."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from asyncua import ua

from gateway.errors import GatewayError, LinkError
from gateway.tools.pki import create
from gateway.tools.pki_server import first, pki_server
from tests.fakes.mosquitto import free_port
from tests.fakes.opcua import OpcuaServer, nodes, running, serving


async def test_the_certificate_that_is_saved_is_the_one_to_pin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, ours = create(tmp_path / "server", "urn:tests:server"), create(tmp_path / "own", "urn:tests:gateway")
    server = OpcuaServer({"a": 6.0})
    server.policies = [ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt]
    server.certificate, server.key = theirs.certificate, theirs.private_key
    file = tmp_path / "server.der"
    async with serving(server) as served:
        await asyncio.to_thread(pki_server, served.endpoint, file)
        out = capsys.readouterr().out
        assert file.read_bytes() == theirs.certificate.read_bytes()
        assert theirs.fingerprint in out
        assert "offers:      Basic256Sha256 SignAndEncrypt\n" in out
        with pytest.raises(GatewayError, match="exists"):
            await asyncio.to_thread(pki_server, served.endpoint, file)
        secured = {
            "policy": "Basic256Sha256",
            "certificate": ours.certificate,
            "private_key": ours.private_key,
            "server_certificate": file,
        }
        async with running(served.endpoint, {"plc": {"tags": nodes("a")}}, security=secured) as (_, port):
            await port.wait(lambda: 6.0 in port.values("plc.a"))


async def test_without_a_certificate_nothing_is_written(tmp_path: Path) -> None:
    file = tmp_path / "server.der"
    async with serving(OpcuaServer({"a": 6.0})) as served:
        with pytest.raises(GatewayError, match="offers no security"):
            await asyncio.to_thread(pki_server, served.endpoint, file)
    with pytest.raises(LinkError, match="connection refused: nothing listens there"):
        await asyncio.to_thread(pki_server, f"opc.tcp://127.0.0.1:{free_port()}", file)
    assert not file.exists()


def test_of_a_chain_the_first_is_taken(tmp_path: Path) -> None:
    one = create(tmp_path / "one", "urn:a:b").certificate.read_bytes()
    assert first(one + one) == first(one) == one
    assert first(b"") == b""
    assert first(b"\x30\x03abc") == b"\x30\x03abc"
