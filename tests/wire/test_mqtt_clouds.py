"""The examples' upstreams against brokers with the vendors' published limits: all arrives, nothing offends."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from gateway.block import Block
from gateway.readings import Tag, TagTable
from tests.fakes.broker import Publish
from tests.fakes.upstream.certificates import Authority
from tests.fakes.upstream.clouds import AWS, AZURE, AZURE_WITHOUT_RETAIN, EMQX, HIVEMQ, MOSQUITTO, Cloud, Limits
from tests.fakes.upstream.commanding import Plant
from tests.fakes.upstream.delivery import FakeDelivery, block, event_block
from tests.fakes.upstream.running import running
from tests.fakes.waiting import until

EXAMPLES = Path(__file__).parents[2] / "config" / "examples"
TABLE = TagTable([Tag("press", "temperature", "float32"), Tag("press", "setpoint", "int16")])
PROFILES = {
    "aws": ("upstream-aws-iot.yaml", AWS),
    "azure": ("upstream-azure-event-grid.yaml", AZURE),
    "azure without retain": ("upstream-azure-event-grid.yaml", AZURE_WITHOUT_RETAIN),
    "emqx": ("upstream-emqx.yaml", EMQX),
    "hivemq": ("upstream-hivemq.yaml", HIVEMQ),
    "mosquitto": ("upstream-mosquitto.yaml", MOSQUITTO),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


def upstream_of(name: str, authority: Authority) -> dict[str, Any]:
    """The example's upstream with our own certificates and secret; all else as it stands."""
    (found,) = YAML(typ="safe").load(EXAMPLES / name)["upstreams"].values()
    certificate, key = authority.sign("welding-cell-3")
    ours = {"ca": authority.ca, "certificate": certificate, "key": key}
    tls = {key: ours.get(key, value) for key, value in {"ca": None, **(found.get("tls") or {})}.items()}
    if "password" in found:
        found["password"] = {"env": "PATH"}
    return {**found, "tls": tls, "select": None}


def noise(number: int, rows: int) -> Block:
    """A block whose values no one could guess."""
    calm = block(number, TABLE, rows)
    values = np.random.default_rng(number).random(rows)
    return replace(calm, readings=replace(calm.readings, value=values))


def context(authority: Authority, limits: Limits) -> ssl.SSLContext:
    made = authority.server("localhost")
    if limits.certificate:
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(authority.ca)
    return made


@pytest.mark.parametrize("profile", PROFILES)
async def test_the_example_delivers_within_the_limits(profile: str, authority: Authority) -> None:
    name, limits = PROFILES[profile]
    settings = upstream_of(name, authority)
    listens = settings.pop("commands", False)
    brokers = settings.pop("broker")
    assert all(str(url).startswith("mqtts://") for url in ([brokers] if isinstance(brokers, str) else brokers))
    cloud = Cloud(limits, context(authority, limits))
    async with cloud.broker as broker:
        delivery = FakeDelivery([event_block(0, b'{"event":"loss"}')])
        for number in range(1, 13):
            delivery.append(noise(number, 5000))  # some 500 kB as JSON, which no compression makes small
        for number in range(13, 200):
            delivery.append(block(number, TABLE, 10))
        plant = Plant()
        async with running(
            broker.url, delivery, table=TABLE, commands=plant.executor, listen=listens, **settings
        ) as up:
            up.upstream.link("press", True, "", 0)
            await until(lambda: not delivery.left, 30)
            assert up.counters.readings == 12 * 5000 + 187 * 10
            broker.cut()
            delivery.append(block(200, TABLE, 10))
            await until(lambda: not delivery.left)
        assert cloud.faults == []
        assert [publish for publish in broker.published if publish.topic.endswith("/state")]
        if limits.receive_maximum is not None and limits.open_bytes is None:
            assert broker.most_open > 1  # the window was used
        if "message_expiry" in settings:
            assert all(expires(publish) for publish in broker.published if publish.topic.endswith("/data"))


def expires(publish: Publish) -> bool:
    return publish.properties[:1] == b"\x02"
