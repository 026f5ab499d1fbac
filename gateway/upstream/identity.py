"""Who this gateway is, and the messages that say so. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.upstream.message import Message


@dataclass(frozen=True, slots=True)
class Identity:
    """The gateway's name, this start of the daemon (6 hex digits), its version and where it stands."""

    gateway: str
    boot: str
    version: str
    site: Mapping[str, str] = field(default_factory=dict)
    location: Mapping[str, float] = field(default_factory=dict)


def state_message(identity: Identity, state: str) -> Message:
    """`{gateway}/state`, retained: online or offline."""
    body: dict[str, object] = {"state": state, "boot": identity.boot, "version": identity.version}
    if identity.site:
        body["site"] = dict(identity.site)
    if identity.location:
        body["location"] = dict(identity.location)
    return Message(f"{identity.gateway}/state", compact(body), retain=True)


def device_message(identity: Identity, device: str, *, online: bool, reason: str, since_ns: int) -> Message:
    """`{gateway}/{device}/state`, retained."""
    body: dict[str, object] = {"state": "online" if online else "offline"}
    if reason:
        body["reason"] = reason
    body["since"] = since_ns // 1_000_000
    return Message(f"{identity.gateway}/{device}/state", compact(body), retain=True)


def compact(body: object) -> bytes:
    """JSON without blanks, UTF-8."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
