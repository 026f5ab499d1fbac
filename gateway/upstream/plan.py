"""How a session is opened, what its broker allows, and how it may end. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import LinkError, RefusedError
from gateway.runtime.settings import Secret
from gateway.upstream.message import Message
from gateway.upstream.settings import Endpoint, Tls

TAKEN_OVER: Final = 0x8E
RETAIN_NOT_SUPPORTED: Final = 0x9A

# Codes of CONNACK that trying again soon can't change: identifier, credentials, authorization, banned, moved.
_REFUSALS: Final = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90, 0x9C, 0x9D})


class TakenOverError(RefusedError):
    """Another client connected with our client id: a twin; fighting it helps nobody."""


class NoRetainError(LinkError):
    """The broker keeps no retained messages, so it takes no will that is to be retained."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a session is opened."""

    endpoint: Endpoint
    protocol: str  # "5" or "3.1.1"
    client_id: str
    username: str | None = None
    password: Secret | None = None
    tls: Tls | None = None
    keepalive_s: int = 20
    will: Message | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the broker's CONNACK allows (MQTT 5, section 3.2.2.3)."""

    receive_maximum: int = 65535
    packet_size: int | None = None
    qos: int = 2
    retain: bool = True


def limits_of(properties: Any) -> Limits:
    """What a CONNACK's properties say; absent ones are the protocol's defaults."""
    return Limits(
        getattr(properties, "ReceiveMaximum", 65535),
        getattr(properties, "MaximumPacketSize", None),
        getattr(properties, "MaximumQoS", 2),
        bool(getattr(properties, "RetainAvailable", 1)),
    )


def refusal(code: int, words: str) -> LinkError:
    """The error for a CONNACK that refuses."""
    if code == RETAIN_NOT_SUPPORTED:
        return NoRetainError("refused by the broker: it keeps no retained messages, as the will was to be")
    return (RefusedError if code in _REFUSALS else LinkError)(f"refused by the broker: {words}")


def ending(code: int, words: str, *, by_broker: bool) -> LinkError:
    """The error for a connection that ended: by the broker's DISCONNECT, or found dead."""
    if by_broker:
        return (TakenOverError if code == TAKEN_OVER else LinkError)(f"ended by the broker: {words}")
    return LinkError("connection lost" if code == 0x80 else f"connection lost: {words}")
