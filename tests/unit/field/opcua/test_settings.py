from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.field.opcua.settings import OpcuaConnection

FILES = {"certificate": "/p/own.der", "private_key": "/p/own.pem", "server_certificate": "/p/server.der"}


def connection(tag: Any = None, device: Any = None, **keys: Any) -> OpcuaConnection:
    tags = {"a": {"node": "ns=2;s=A", **(tag or {})}}
    return OpcuaConnection.model_validate(
        {
            "driver": "opcua",
            "endpoint": "opc.tcp://127.0.0.1",
            "devices": {"plc": {"tags": tags, **(device or {})}},
            **keys,
        }
    )


def test_the_port_may_be_left_out() -> None:
    assert connection().endpoint == "opc.tcp://127.0.0.1:4840"
    assert connection(endpoint="opc.tcp://localhost/UA/Server").endpoint == "opc.tcp://localhost:4840/UA/Server"
    assert connection(endpoint="opc.tcp://[::1]:50000/x").endpoint == "opc.tcp://[::1]:50000/x"


def warned(settings: OpcuaConnection) -> list[str]:
    return [".".join(map(str, path)) for kind, path, _ in settings.findings({}) if kind == "warning"]


@pytest.mark.parametrize("host", ["host", "192.168.10.7", "[fe80::1]", "127.0.0.1.plant.local"])
def test_plain_text_beyond_this_machine_draws_a_warning(host: str) -> None:
    endpoint = f"opc.tcp://{host}"
    for security in ({}, {"security": {"policy": "None"}}):
        assert warned(connection(endpoint=endpoint, **security)) == ["endpoint"]
        assert warned(connection(endpoint=endpoint, insecure=True, **security)) == []
    assert warned(connection(endpoint=endpoint, security=FILES)) == []
    assert warned(connection(endpoint=endpoint, security=FILES, insecure=True)) == ["insecure"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_plain_text_on_this_machine_needs_nothing(host: str) -> None:
    assert warned(connection(endpoint=f"opc.tcp://{host}")) == []


@pytest.mark.parametrize(
    "node",
    [
        "i=85",
        "ns=3;i=1001",
        "ns=2;s=Weld.Current",
        's="DB"."a b";c',
        "nsu=urn:maker:plc;s=X",
        "ns=1;g=09087e75-8e5e-499b-954f-f2a9603db28a",
        "ns=1;b=TWE=",
    ],
)
def test_node_ids(node: str) -> None:
    assert connection(tag={"node": node}).devices["plc"].tags["a"].address_text() == node


@pytest.mark.parametrize("node", ["", "Weld", "ns=2", "ns=x;s=A", "s=", "i=abc", "g=1", "ns=2;q=1"])
def test_what_is_no_node_id(node: str) -> None:
    with pytest.raises(ValidationError, match="expected a node id"):
        connection(tag={"node": node})


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"endpoint": "http://host"}, "expected opc.tcp"),
        ({"endpoint": "opc.tcp://host:x"}, "expected opc.tcp"),
        ({"endpoint": "opc.tcp://a:b@host"}, "don't belong in the endpoint"),
        ({"security": {"policy": "Basic256Sha256"}}, "needs certificate, private_key, server_certificate"),
        ({"security": {"policy": "Basic256", **FILES}}, "Input should be"),
        ({"security": {**FILES, "server_certificate": None}}, "needs server_certificate"),
        ({"username": "u", "password": {"env": "P"}}, "clear text"),
        ({"username": "u", "password": {"env": "P"}, "security": {"policy": "None"}}, "clear text"),
        ({"username": "u", "password": "hunter2", "security": FILES}, "never stand in the file"),
        ({"password": {"env": "P"}, "security": FILES}, "needs a username"),
        ({"user_certificate": "/p/user.der"}, "needs user_private_key"),
        ({"user_private_key": "/p/user.pem"}, "needs user_certificate"),
        ({"device": {"mode": "poll", "every": "0ms"}}, "above zero"),
        ({"tag": {"type": "bcd16"}}, "Input should be"),
        ({"device": {"queue": 0}}, "greater than or equal to 1"),
    ],
)
def test_what_is_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as errors:
        connection(**keys)
    assert words in str(errors.value)


def test_a_subscribed_device_may_ask_for_all_the_server_has() -> None:
    assert connection(device={"every": "0ms"}).devices["plc"].every == 0


def test_the_queue_holds_all_samples_between_two_publishes_and_some() -> None:
    device = connection().devices["plc"]
    assert device.queue_size(0.1) >= 0.25 / 0.1 + 2
    assert device.queue_size(0.0) >= 250
    assert device.queue_size(60.0) >= 2
    assert connection(device={"queue": 7}).devices["plc"].queue_size(0.1) == 7


def test_a_user_name_without_password_needs_no_policy() -> None:
    assert connection(username="operator").username == "operator"
