"""Brokers as the vendors publish their limits: the scripted broker, and what it holds a client to.

Each limit is one of the vendor's documentation (2023 to 2025): AWS IoT Core's quotas, Azure Event Grid's limits of a
namespace's MQTT broker, EMQX' and HiveMQ's default configuration, mosquitto.conf.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

from tests.fakes.broker import Connect, Publish, ScriptedBroker


@dataclass(frozen=True)
class Limits:
    """None: no limit is published, or none that a gateway could reach."""

    receive_maximum: int | None = None
    packet_bytes: int | None = None
    payload_bytes: int | None = None
    retained_bytes: int | None = None
    open_bytes: int | None = None  # of all messages without their PUBACK
    qos: int = 2
    retain: bool = True
    levels: int = 128
    topic_bytes: int = 65_535
    client_id_bytes: int = 65_535
    keepalive: tuple[int, int] = (1, 65_535)
    messages_per_s: int | None = None  # more is answered with "quota exceeded"
    alpn: str | None = None
    certificate: bool = False
    username: bool = False

    @property
    def connack(self) -> bytes:
        """The CONNACK's properties."""
        found = b""
        if self.receive_maximum is not None:
            found += b"\x21" + struct.pack("!H", self.receive_maximum)
        if self.packet_bytes is not None:
            found += b"\x27" + struct.pack("!I", self.packet_bytes)
        if self.qos < 2:
            found += b"\x24" + bytes((self.qos,))
        if not self.retain:
            found += b"\x25\x00"
        return found


KIB: Final = 1024
AWS: Final = Limits(
    receive_maximum=100,
    packet_bytes=146 * KIB,
    payload_bytes=128 * KIB,
    qos=1,
    levels=8,
    topic_bytes=256,
    client_id_bytes=128,
    keepalive=(30, 1200),
    messages_per_s=100,
    alpn="x-amzn-mqtt-ca",
    certificate=True,
)
AZURE: Final = Limits(
    receive_maximum=100,
    packet_bytes=512 * KIB,
    retained_bytes=64 * KIB,
    open_bytes=64 * KIB,
    qos=1,
    levels=8,
    topic_bytes=256,
    client_id_bytes=128,
    keepalive=(1, 1160),
    certificate=True,
    username=True,
)
AZURE_WITHOUT_RETAIN: Final = replace(AZURE, retain=False)
EMQX: Final = Limits(receive_maximum=32, packet_bytes=1024 * KIB, certificate=True)
HIVEMQ: Final = Limits(receive_maximum=10, packet_bytes=5 * 1024 * KIB, username=True)
MOSQUITTO: Final = Limits(receive_maximum=20, username=True)


@dataclass
class Cloud:
    """A broker that keeps a list of what a client did against its limits, and answers as the service does."""

    limits: Limits
    context: ssl.SSLContext
    faults: list[str] = field(default_factory=list)
    broker: ScriptedBroker = field(init=False)
    _recent: deque[float] = field(default_factory=deque)

    def __post_init__(self) -> None:
        if self.limits.alpn:
            self.context.set_alpn_protocols([self.limits.alpn])
        self.broker = ScriptedBroker(
            tls=self.context,
            connack_properties=self.limits.connack,
            judge=self._judge,
            puback=self._take,
            latency_s=0.005,
        )

    def _judge(self, connect: Connect) -> int:
        limits, (shortest, longest) = self.limits, self.limits.keepalive
        if connect.will_retain and not limits.retain:
            return 0x9A
        if connect.will_qos > limits.qos:
            return 0x9B
        self._hold(len(connect.client_id.encode()) <= limits.client_id_bytes, "client id")
        self._hold(shortest <= connect.keepalive <= longest, "keepalive")
        self._hold(bool(connect.username) or not limits.username, "username")
        self._hold(not limits.alpn or self.broker.alpn[-1] == limits.alpn, "ALPN")
        return 0

    def _take(self, publish: Publish) -> int:
        limits, topic = self.limits, publish.topic
        self._hold(publish.qos <= limits.qos, "QoS")
        self._hold(limits.retain or not publish.retain, f"retain on {topic}")
        self._hold(topic.count("/") < limits.levels and len(topic.encode()) <= limits.topic_bytes, f"topic {topic}")
        self._hold(_within(publish.size, limits.packet_bytes), f"packet of {publish.size} bytes")
        self._hold(_within(len(publish.payload), limits.payload_bytes), f"payload of {len(publish.payload)} bytes")
        if publish.retain:
            self._hold(_within(len(publish.payload), limits.retained_bytes), f"retained {len(publish.payload)} bytes")
        self._hold(_within(self.broker.most_open, limits.receive_maximum), f"{self.broker.most_open} messages open")
        self._hold(_within(self.broker.most_bytes, limits.open_bytes), f"{self.broker.most_bytes} bytes open")
        return 0x97 if self._too_fast() else 0

    def _too_fast(self) -> bool:
        now = asyncio.get_running_loop().time()
        while self._recent and self._recent[0] < now - 1.0:
            self._recent.popleft()
        if not _within(len(self._recent) + 1, self.limits.messages_per_s):
            return True
        self._recent.append(now)
        return False

    def _hold(self, kept: bool, what: str) -> None:
        if not kept:
            self.faults.append(what)


def _within(number: int, limit: int | None) -> bool:
    return limit is None or number <= limit
