"""What the demo sees of the daemon: its own figures from /metrics, and what really arrived at the broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from amqtt.client import MQTTClient
from amqtt.errors import AMQTTError
from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT: Final = aiohttp.ClientTimeout(total=2.0)


@dataclass(frozen=True)
class Figures:
    """The daemon's own account of itself."""

    polled: int = 0
    kept: int = 0
    acknowledged: int = 0
    backlog: int = 0
    lost: int = 0


@dataclass
class Arrivals:
    """What a subscriber received. A repeated message (same identity) counts as a repeat, not as readings."""

    messages: int = 0
    readings: int = 0
    octets: int = 0
    repeats: int = 0
    values: dict[str, str] = field(default_factory=dict)  # newest value by full tag name, as text
    _seen: set[tuple[Any, ...]] = field(default_factory=set)

    def take(self, topic: str, payload: bytes) -> None:
        """Count one message. Anything but a data message is none of ours."""
        if not topic.endswith("/data"):
            return
        message = json.loads(payload)
        identity = tuple(message.get(key) for key in ("gateway", "device", "boot", "block", "part"))
        if identity in self._seen:
            self.repeats += 1
            return
        self._seen.add(identity)
        self.messages += 1
        self.octets += len(payload)
        self.readings += len(message["readings"])
        for reading in message["readings"]:
            self.values[f"{message['device']}.{reading['tag']}"] = _shown(reading)


def parse_metrics(text: str) -> Figures:
    """The figures in a Prometheus text exposition; what is not there is 0."""
    sums: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, sample.labels.get("stage", "")
            sums[key] = sums.get(key, 0.0) + sample.value
    return Figures(
        polled=int(sums.get(("gateway_readings_total", "polled"), 0)),
        kept=int(sums.get(("gateway_readings_total", "kept"), 0)),
        acknowledged=int(sums.get(("gateway_readings_total", "acknowledged"), 0)),
        backlog=int(sums.get(("gateway_backlog_readings", ""), 0)),
        lost=int(sums.get(("gateway_readings_lost_total", ""), 0)),
    )


async def fetch_figures(session: aiohttp.ClientSession, port: int) -> Figures | None:
    """The daemon's figures now; None while its status page doesn't answer."""
    try:
        async with session.get(f"http://127.0.0.1:{port}/metrics", timeout=_TIMEOUT) as answer:
            return parse_metrics(await answer.text()) if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError):
        return None


async def observe(port: int, arrivals: Arrivals) -> None:
    """Subscribe to everything at the broker's back door and count until cancelled."""
    client = MQTTClient(client_id="demo-observer", config={"auto_reconnect": False})
    await client.connect(f"mqtt://127.0.0.1:{port}/", cleansession=True)
    await client.subscribe([("#", 1)])
    try:
        while True:
            message = await client.deliver_message()
            if message is not None and message.data is not None:
                arrivals.take(str(message.topic), bytes(message.data))
    finally:
        try:
            async with asyncio.timeout(2.0):
                await client.disconnect()
        except (AMQTTError, OSError, TimeoutError):
            pass  # the broker goes down next; nothing depends on this goodbye


def _shown(reading: Mapping[str, Any]) -> str:
    value = reading["value"]
    if value is None:
        return f"{reading['quality']}/{reading.get('reason', '')}"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
