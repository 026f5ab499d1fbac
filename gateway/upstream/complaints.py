"""What a broker refuses or can't take: counted each time, said once per session."""

from __future__ import annotations

import logging
from functools import cache

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from gateway.runtime.counters import UpstreamCounters

log = logging.getLogger(__name__)


class Complaints:
    """Those of one upstream."""

    def __init__(self, upstream: str, counters: UpstreamCounters) -> None:
        self._upstream = upstream
        self._counters = counters
        self._said: set[str] = set()

    def clear(self) -> None:
        """A new session: everything may be said again."""
        self._said.clear()

    def refused(self, topic: str, code: int, consequence: str) -> None:
        """The broker answered a message with a PUBACK that names a failure."""
        name = code_name(code)
        self._counters.refused[name] += 1
        self.say(f"{topic} {code}", f"topic {topic}: {name}: {consequence}")

    def unheard(self, topic: str, code: int) -> None:
        """The broker took a message and threw it away, since nobody subscribes."""
        self._counters.refused[code_name(code)] += 1
        self.say("unheard", f"nobody subscribes, e.g. to {topic}: the broker keeps nothing")

    def say(self, key: str, text: str) -> None:
        """A warning, once per key."""
        if key not in self._said:
            self._said.add(key)
            log.warning("%s: %s", self._upstream, text)


@cache
def code_name(code: int) -> str:
    """A PUBACK reason code in words."""
    try:
        return ReasonCode(PacketTypes.PUBACK, identifier=code).getName()
    except KeyError:
        return f"reason code 0x{code:02x}"
