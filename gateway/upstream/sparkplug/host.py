"""What the primary host says of itself on `spBv1.0/STATE/<host>`, remembered per broker. Pure."""

from __future__ import annotations

import json
from enum import Enum


class Host(Enum):
    """What is known of the host on the broker in use."""

    UNKNOWN = "unknown"
    ONLINE = "online"
    OFFLINE = "offline"


class PrimaryHost:
    """The newest time stamps outlive a connection: an older `online` after a reconnect starts nothing."""

    def __init__(self, name: str | None) -> None:
        self.topic = "" if name is None else f"spBv1.0/STATE/{name}"
        self.state = Host.UNKNOWN
        self._newest: dict[str, int] = {}  # broker -> ms UTC
        self._broker = ""

    @property
    def wanted(self) -> bool:
        """Whether births wait for a host."""
        return bool(self.topic)

    @property
    def ready(self) -> bool:
        """Whether births may be published."""
        return not self.wanted or self.state is Host.ONLINE

    def connected(self, broker: str) -> None:
        """A new connection: what the host said on an old one holds no more."""
        self._broker, self.state = broker, Host.UNKNOWN

    def heard(self, topic: str, payload: bytes) -> None:
        """A STATE message; what is malformed, older or of another host changes nothing."""
        if topic != self.topic:
            return
        said = _parse(payload)
        if said is None:
            return
        online, time_ms = said
        newest = self._newest.get(self._broker)
        if newest is not None and time_ms < newest:
            return
        self._newest[self._broker] = time_ms
        self.state = Host.ONLINE if online else Host.OFFLINE


def _parse(payload: bytes) -> tuple[bool, int] | None:
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        return None  # among them the plain ONLINE and OFFLINE of Sparkplug 2.2
    if not isinstance(body, dict):
        return None
    online, time_ms = body.get("online"), body.get("timestamp")
    if not isinstance(online, bool) or not isinstance(time_ms, int) or isinstance(time_ms, bool):
        return None
    return online, time_ms
