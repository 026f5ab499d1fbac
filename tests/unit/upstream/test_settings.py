"""The upstream's settings: the contract's keys, and what each wrong one says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.upstream.settings import Endpoint, UpstreamSettings, parse_endpoint

BROKER = "mqtts://broker.plant.local:8883"


def settings(**keys: Any) -> UpstreamSettings:
    return UpstreamSettings(**{"broker": BROKER, **keys})


def test_the_defaults() -> None:
    found = settings()
    assert (found.protocol, found.format, found.window, found.commands) == ("5", "json", 100, False)
    assert (found.keepalive, found.ack_timeout, found.max_message) == (20.0, 20.0, 65536)
    assert (found.time_unit, found.compress, found.insecure, found.select) == ("ms", "none", False, None)
    assert found.client_id_of("cell", "plant") == "cell-plant"
    assert settings(client_id="x").client_id_of("cell", "plant") == "x"


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("mqtt://localhost", Endpoint("mqtt", "localhost", 1883, "")),
        ("mqtts://h", Endpoint("mqtts", "h", 8883, "")),
        ("mqtts://h:443/", Endpoint("mqtts", "h", 443, "")),
        ("ws://127.0.0.1", Endpoint("ws", "127.0.0.1", 80, "/mqtt")),
        ("wss://h/a/b?x=1", Endpoint("wss", "h", 443, "/a/b?x=1")),
        ("mqtts://[fe80::1]:1", Endpoint("mqtts", "fe80::1", 1, "")),
    ],
)
def test_addresses(url: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(url) == endpoint


@pytest.mark.parametrize("protocol", [5, "5", "3.1.1"])
def test_protocols(protocol: object) -> None:
    assert settings(protocol=protocol).protocol == str(protocol)


@pytest.mark.parametrize("url", ["mqtt://localhost:1", "mqtt://127.3.2.1", "mqtt://[::1]:5", "ws://localhost/x"])
def test_plaintext_on_this_machine_needs_nothing(url: str) -> None:
    assert settings(broker=url).endpoints[0].loopback


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"broker": "mqtt://broker.plant.local"}, "unencrypted"),
        ({"broker": "ws://10.0.0.1"}, "unencrypted"),
        ({"broker": [BROKER, "mqtt://10.0.0.1"]}, "unencrypted"),
        ({"broker": []}, "at least 1"),
        ({"broker": "http://h"}, "expected mqtt://"),
        ({"broker": "h:1883"}, "expected mqtt://"),
        ({"broker": "mqtts://"}, "no host"),
        ({"broker": "mqtts://h:x"}, "no valid port"),
        ({"broker": "mqtts://h:0"}, "no valid port"),
        ({"broker": "mqtts://h/x"}, "nothing may follow"),
        ({"broker": "mqtts://me:secret@h"}, "never stand in the address"),
        ({"protocol": "3.1"}, "expected 5 or 3.1.1"),
        ({"protocol": 4}, "expected 5 or 3.1.1"),
        ({"protocol": 3.1}, "expected 5 or 3.1.1"),
        ({"protocol": True}, "expected 5 or 3.1.1"),
        ({"format": "xml"}, "'json', 'columns' or 'sparkplug'"),
        ({"topic": "{gateway}/{devise}"}, "unknown field {devise}"),
        ({"topic": "{gateway"}, "brace"),
        ({"topic": "a/+/b"}, "no +, #"),
        ({"topic": ""}, "can't be empty"),
        ({"topic": "/a"}, "starts with no"),
        ({"topic": "$SYS/a"}, "starts with no"),
        ({"topic": "a//b"}, "empty level"),
        ({"window": 0}, "greater than or equal to 1"),
        ({"window": 65536}, "less than or equal to 65535"),
        ({"select": ["press.[ab]"]}, "is no pattern"),
        ({"select": [""]}, "is no pattern"),
        ({"username": "me", "password": "secret"}, "never stand in the file"),
        ({"password": {"env": "X"}}, "needs username"),
        ({"tls": {"certificate": "/a"}}, "needs key"),
        ({"tls": {"key": "/a"}}, "needs certificate"),
        ({"tls": {"insecure": True}}, "Extra inputs"),
        ({"broker": "mqtt://localhost", "tls": {}}, "needs a broker address with mqtts://"),
        ({"format": "sparkplug"}, "needs sparkplug"),
        ({"sparkplug": {"group": "g"}}, "needs format: sparkplug"),
        ({"format": "sparkplug", "sparkplug": {"group": "a/b"}}, "should match pattern"),
        ({"keepalive": "500ms"}, "whole seconds"),
        ({"keepalive": 20}, "expected a duration"),
        ({"max_message": "100B"}, "1KiB to 256MiB"),
        ({"time_unit": "s"}, "'ms', 'us' or 'ns'"),
        ({"compress": "gzip"}, "'none' or 'zstd'"),
        ({"format": "columns", "compress": "zstd"}, "compressed already"),
        ({"format": "columns", "topic": "{device}/{tag}"}, "can't stand in its topic"),
        ({"message_expiry": "1h", "protocol": "3.1.1"}, "needs protocol: 5"),
        ({"windw": 5}, "Extra inputs"),
    ],
)
def test_what_is_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**keys)
    assert words in str(caught.value)


def test_insecure_is_an_explicit_choice() -> None:
    assert settings(broker="mqtt://10.0.0.1", insecure=True).endpoints[0].scheme == "mqtt"


def test_findings_name_what_is_missing(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("changeme")
    secret.chmod(0o600)
    found = settings(
        topic="{enterprise}/{site}/{device}",
        username="me",
        password={"file": secret},
        tls={"ca": tmp_path / "ca.pem"},
        protocol="3.1.1",
        insecure=True,
    ).findings({"enterprise": "acme"})
    assert [(severity, path) for severity, path, _ in found] == [
        ("error", ("topic",)),
        ("machine", ("password",)),
        ("machine", ("tls", "ca")),
        ("warning", ("protocol",)),
        ("warning", ("insecure",)),
    ]
    assert "placeholder" in found[1][2]
    assert "hides refusals" in found[3][2]


def test_a_private_key_everybody_can_read_is_found(tmp_path: Path) -> None:
    certificate, key = tmp_path / "own.pem", tmp_path / "own.key"
    for file in (certificate, key):
        file.write_text("")
        file.chmod(0o644)
    tls = {"certificate": certificate, "key": key}
    ((severity, path, text),) = settings(tls=tls).findings({})
    assert (severity, path) == ("machine", ("tls", "key"))
    assert "can be read by everybody" in text
    key.chmod(0o640)
    assert settings(tls=tls).findings({}) == []


def test_a_site_name_that_breaks_topics_is_found() -> None:
    (found,) = settings(topic="{site}/{device}").findings({"site": "a+b"})
    assert found[0] == "error"
    assert settings(topic="{site}/{device}").findings({"site": "a/b"}) == []


def test_the_defaults_have_nothing_to_find() -> None:
    assert settings().findings({}) == []
