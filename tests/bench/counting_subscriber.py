"""Subscribes to a broker and counts readings in json messages, in a process of its own.

python tests/bench/counting_subscriber.py PORT   prints `messages readings octets p99` for every line on stdin

p99 is of the messages since the line before: milliseconds from the oldest reading's own time to its arrival here.
"""

from __future__ import annotations

import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode


class Counter:
    """Totals so far."""

    def __init__(self) -> None:
        self.messages = self.readings = self.octets = 0
        self._ages: list[float] = []

    def take(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        """Count one message without parsing it."""
        if not message.topic.endswith("/data"):
            return
        self.messages += 1
        self.readings += message.payload.count(b'"tag":')
        self.octets += len(message.payload)
        start = message.payload.index(b'"time":') + len(b'"time":')
        oldest = int(message.payload[start : message.payload.index(b",", start)])
        self._ages.append(time.time() * 1000 - oldest)

    def p99(self) -> float:
        """Of the messages since the last call; 0 where there were none."""
        ages, self._ages = sorted(self._ages), []
        return ages[len(ages) * 99 // 100] if ages else 0.0


def main(port: int) -> None:
    """Count until stdin ends."""
    counter = Counter()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "bench-counter", protocol=MQTTProtocolVersion.MQTTv5)

    def subscribe(
        client: mqtt.Client, _data: object, _flags: mqtt.ConnectFlags, _code: ReasonCode, _props: Properties | None
    ) -> None:
        client.subscribe("#", 1)

    client.on_connect = subscribe
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_message = counter.take
    client.connect("127.0.0.1", port)
    client.loop_start()
    for _ in sys.stdin:
        print(counter.messages, counter.readings, counter.octets, round(counter.p99(), 1), flush=True)
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main(int(sys.argv[1]))
