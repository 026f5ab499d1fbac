from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import LinkError, RefusedError
from gateway.field.opcua.security import log_in
from gateway.field.opcua.session import Session, translated
from gateway.field.opcua.settings import OpcuaConnection
from gateway.field.opcua.subscribe import MessageNumbers

ANSWER = ua.ReadResponse(
    Results=[ua.DataValue(ua.Variant(1.5)), ua.DataValue(ua.Variant("abc")), ua.DataValue(ua.Variant([1, 2, 3]))]
)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4), st.integers(0, 10_000))
def test_whatever_a_server_answers_is_read_or_a_lost_link(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(struct_to_binary(ANSWER))
    for position, byte in changes:
        data[position % len(data)] = byte
    if cut % 3 == 0:
        del data[cut % len(data) :]
    try:
        with translated("read"):
            struct_from_binary(ua.ReadResponse, Buffer(bytes(data)))
    except LinkError:
        return


def status(error: Any) -> Exception:
    """The library's errors have untyped constructors."""
    made: Exception = error()
    return made


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (status(ua.uaerrors.BadUserAccessDenied), RefusedError),
        (status(ua.uaerrors.BadSecurityChecksFailed), RefusedError),
        (status(ua.uaerrors.BadTcpServerTooBusy), LinkError),
        (TimeoutError(), LinkError),
        (ConnectionResetError("reset"), LinkError),
    ],
)
def test_refusals_are_told_from_lost_links(error: Exception, kind: type[LinkError]) -> None:
    with pytest.raises(LinkError) as caught, translated("connect"):
        raise error
    assert type(caught.value) is kind
    assert str(caught.value).startswith("connect: ")


def test_namespaces_by_name_are_looked_up_in_the_servers_list() -> None:
    client: Any = None
    session = Session(client, namespaces=("http://opcfoundation.org/UA/", "urn:a", "urn:b"))
    assert session.node("nsu=urn:b;s=X") == ua.NodeId.from_string("ns=2;s=X")
    assert session.node("ns=1;i=7") == ua.NodeId.from_string("ns=1;i=7")
    assert session.node("nsu=urn:c;s=X") is None


def message(number: int, *, data: bool = True) -> ua.NotificationMessage:
    return ua.NotificationMessage(
        SequenceNumber=ua.UInt32(number), NotificationData=[ua.ExtensionObject()] if data else []
    )


def test_missing_messages_are_counted_and_keep_alives_are_none() -> None:
    numbers = MessageNumbers()
    assert [numbers.missing(message(number), 0) for number in (1, 2)] == [0, 0]
    assert [numbers.missing(message(3, data=False), 0) for _ in range(2)] == [0, 0]
    assert numbers.missing(message(3), 0) == 0
    assert numbers.missing(message(6), 0) == 2
    assert numbers.missing(message(9, data=False), 0) == 2
    assert numbers.missing(message(9), 0) == 0


def test_a_wrapped_number_loses_nothing() -> None:
    numbers = MessageNumbers()
    numbers.missing(message(2**32 - 1), 0)
    assert numbers.missing(message(1), 0) == 0
    assert numbers.missing(message(2), 0) == 0


class Client:
    """What `log_in` asks of a client."""

    user_certificate = None

    def __init__(self, token_policy: str) -> None:
        self.token_policy = token_policy
        self.passwords: list[str | None] = []

    def server_policy(self, _kind: Any) -> Any:
        return SimpleNamespace(SecurityPolicyUri=self.token_policy)

    async def activate_session(self, _user: str | None, password: str | None, _certificate: Any) -> None:
        self.passwords.append(password)


NONE = "http://opcfoundation.org/UA/SecurityPolicy#None"
SHA256 = "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256"


@pytest.mark.parametrize(
    ("mode", "policy", "sent"),
    [("Sign", NONE, False), ("Sign", SHA256, True), ("SignAndEncrypt", NONE, True), ("SignAndEncrypt", SHA256, True)],
)
def test_a_password_never_travels_readable(mode: str, policy: str, sent: bool, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("sesame\n", encoding="utf-8")
    security = {"mode": mode, "certificate": "/c", "private_key": "/k", "server_certificate": "/s"}
    settings = OpcuaConnection.model_validate(
        {
            "driver": "opcua",
            "endpoint": "opc.tcp://h",
            "username": "u",
            "password": {"file": str(secret)},
            "security": security,
            "devices": {"d": {"tags": {"a": {"node": "i=1"}}}},
        }
    )
    client: Any = Client(policy)
    if sent:
        asyncio.run(log_in(client, settings))
        assert client.passwords == ["sesame"]
        return
    with pytest.raises(RefusedError, match="clear text"):
        asyncio.run(log_in(client, settings))
    assert client.passwords == []
