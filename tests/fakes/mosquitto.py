"""A real mosquitto broker in its own process, on its own port, with its own configuration; ended by its own handle.

with Mosquitto(tmp_path) as broker:           # anonymous, MQTT 5 and 3.1.1, on broker.port
    with Collector(broker.port) as received:  # subscribed to everything when the block starts
        broker.kill(); broker.start()         # SIGKILL, then again on the same port
        received.wait_for(lambda messages: len(messages) >= 10)
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

DEADLINE_S = 20.0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Mosquitto:
    """One broker. `lines` are added to the global section, `listener` to the listener's (cafile, certfile, ...)."""

    def __init__(
        self, folder: Path, lines: Iterable[str] = (), listener: Iterable[str] = (), *, anonymous: bool = True
    ) -> None:
        self.port = free_port()
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self._config = folder / f"mosquitto-{self.port}.conf"
        self._log = folder / f"mosquitto-{self.port}.log"
        text = [
            "user root",  # as root mosquitto would give up the right to read the test's folder
            "per_listener_settings false",
            f"allow_anonymous {str(anonymous).lower()}",
            "log_dest stderr",
            "log_type all",
            "max_queued_messages 1000000",  # 0 (no limit) makes 2.0.11 close on every denied PUBLISH
            *lines,
            f"listener {self.port} 127.0.0.1",
            *listener,
        ]
        self._config.write_text("\n".join(text) + "\n")

    @property
    def url(self) -> str:
        """The broker's address as in the configuration."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What mosquitto wrote so far, over all its starts."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start the process and wait until it listens."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/mosquitto", "-c", str(self._config)], stderr=log, stdout=log, cwd=self.folder
            )
        deadline = time.monotonic() + DEADLINE_S
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"mosquitto ended at once:\n{self.log}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: nothing is said to anybody."""
        self._end(lambda process: process.kill())

    def stop(self) -> None:
        """SIGTERM: the broker says goodbye."""
        self._end(lambda process: process.terminate())

    def _end(self, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        if self.process is not None:
            how(self.process)
            self.process.wait(DEADLINE_S)
            self.process = None

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


@dataclass(frozen=True)
class Received:
    """One message as a subscriber saw it."""

    topic: str
    payload: bytes
    retain: bool
    user: tuple[tuple[str, str], ...] = ()
    correlation: bytes = b""
    qos: int = 0
    expiry_s: int | None = None
    content_type: str = ""
    at_ns: int = 0  # UTC when it came


@dataclass
class Collector:
    """A subscriber that keeps every message and subscribes again by itself after a broker's restart.

    With QoS 0 it never answers: an answer that a killed broker left unread would make the kernel reset the connection,
    and what the broker had sent before would be lost with it.
    """

    port: int
    topics: str = "#"
    username: str = ""
    password: str = ""
    qos: int = 0
    messages: list[Received] = field(default_factory=list)
    subscriptions: int = 0  # grows with every SUBACK

    def __post_init__(self) -> None:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.reconnect_delay_set(1, 1)
        if self.username:
            client.username_pw_set(self.username, self.password)
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        self.client = client

    def _connected(
        self, client: mqtt.Client, _data: object, _flags: mqtt.ConnectFlags, code: ReasonCode, _: Properties | None
    ) -> None:
        if not code.is_failure:
            client.subscribe(self.topics, options=SubscribeOptions(qos=self.qos, retainAsPublished=True))

    def _subscribed(
        self, _client: mqtt.Client, _data: object, _mid: int, _codes: list[ReasonCode], _: Properties | None
    ) -> None:
        self.subscriptions += 1

    def _received(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        properties = message.properties
        self.messages.append(
            Received(
                message.topic,
                bytes(message.payload),
                message.retain,
                tuple(getattr(properties, "UserProperty", ())),
                getattr(properties, "CorrelationData", b""),
                message.qos,
                getattr(properties, "MessageExpiryInterval", None),
                getattr(properties, "ContentType", ""),
                time.time_ns(),
            )
        )

    def publish(
        self,
        topic: str,
        payload: bytes,
        properties: Properties | None = None,
        *,
        qos: int = 1,
        retain: bool = False,
    ) -> None:
        """Send a message from this client, and wait until it is out."""
        self.client.publish(topic, payload, qos, retain=retain, properties=properties).wait_for_publish(DEADLINE_S)

    def payloads(self, topic: str) -> list[bytes]:
        """The payloads received on one topic, in order."""
        return [message.payload for message in list(self.messages) if message.topic == topic]

    def wait_for(self, condition: Callable[[list[Received]], bool], deadline_s: float = DEADLINE_S) -> None:
        """Wait until the messages fulfil the condition; blocks the thread (use `asyncio.to_thread` on a loop)."""
        self._wait(lambda: condition(list(self.messages)), deadline_s)

    def wait_subscribed(self, times: int = 1) -> None:
        """Wait until the broker granted the subscription `times` times."""
        self._wait(lambda: self.subscriptions >= times, DEADLINE_S)

    def _wait(self, condition: Callable[[], bool], deadline_s: float) -> None:
        deadline = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.messages)} messages, the last: {self.messages[-3:]}")
            time.sleep(0.01)

    def __enter__(self) -> Collector:
        self.client.connect("127.0.0.1", self.port, keepalive=30)
        self.client.loop_start()
        self.wait_subscribed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.disconnect()
        self.client.loop_stop()
