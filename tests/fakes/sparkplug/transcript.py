"""What a gateway said and heard in one scenario, as an auditor reads it: packets, sessions, Sparkplug messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from tests.fakes.mosquitto import Received
from tests.fakes.sparkplug.schema import decode
from tests.fakes.sparkplug.tap import Packet

TYPES: Final = ("NBIRTH", "NDATA", "NDEATH", "NCMD", "DBIRTH", "DDATA", "DDEATH", "DCMD")
REBIRTH: Final = "Node Control/Rebirth"
BIRTHS: Final = ("NBIRTH", "DBIRTH")
DATA: Final = ("NDATA", "DDATA")


@dataclass(frozen=True)
class Said:
    """One Sparkplug message. `place` is its packet's place in the transcript, -1 in a host's view."""

    type: str
    group: str
    node: str
    device: str | None  # None: the topic has no such token
    payload: Any
    packet: Packet
    place: int

    @property
    def metrics(self) -> list[Any]:
        return list(self.payload.metrics)

    def metric(self, name: str) -> Any:
        """The metric of a name, or None."""
        return next((metric for metric in self.payload.metrics if metric.name == name), None)

    def __str__(self) -> str:
        return f"{self.type} {self.device or self.node} at {self.place}"


def said(packet: Packet, place: int) -> Said | None:
    """The Sparkplug message of a PUBLISH; None where it is another topic's."""
    tokens = packet.topic.split("/")
    if packet.kind != "PUBLISH" or tokens[0] != "spBv1.0" or tokens[1] == "STATE":
        return None
    assert 4 <= len(tokens) <= 5, f"no Sparkplug topic: {packet.topic}"
    assert tokens[2] in TYPES, f"no Sparkplug message type: {packet.topic}"
    device = tokens[4] if len(tokens) == 5 else None
    return Said(tokens[2], tokens[1], tokens[3], device, decode(packet.payload), packet, place)


@dataclass(frozen=True)
class Transcript:
    """One scenario. `facts` holds what no packet shows: what reached the devices, which host is the primary one."""

    name: str
    packets: tuple[Packet, ...]
    heard: tuple[Received, ...] = ()  # by a subscriber of the broker
    facts: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def messages(self) -> list[Said]:
        """The Sparkplug messages of both directions, in order."""
        found = (said(packet, place) for place, packet in enumerate(self.packets))
        return [one for one in found if one is not None]

    def sent(self, *types: str) -> list[Said]:
        """What the gateway published, of these types (all without)."""
        return [one for one in self.messages if one.packet.sent and (not types or one.type in types)]

    def received(self, *types: str) -> list[Said]:
        """The commands that came."""
        return [one for one in self.messages if not one.packet.sent and one.type in types]

    def of_kind(self, kind: str, *, sent: bool = True) -> list[Packet]:
        """The packets of an MQTT type in one direction."""
        return [packet for packet in self.packets if packet.kind == kind and packet.sent == sent]

    @property
    def connects(self) -> list[Packet]:
        return self.of_kind("CONNECT")

    @cached_property
    def sessions(self) -> list[list[tuple[int, Packet]]]:
        """(place, packet) by connection, those that came as far as CONNECT."""
        found: dict[int, list[tuple[int, Packet]]] = {}
        for place, packet in enumerate(self.packets):
            found.setdefault(packet.connection, []).append((place, packet))
        return [session for session in found.values() if session[0][1].kind == "CONNECT"]

    def connect_of(self, one: Said) -> Packet:
        """The CONNECT of the connection a message went over."""
        return next(packet for packet in self.connects if packet.connection == one.packet.connection)

    def births(self) -> Iterator[list[Said]]:
        """What the gateway sent, cut at each NBIRTH: the messages of one birth's reign, NDEATH excluded."""
        reign: list[Said] = []
        for one in self.sent():
            if one.type == "NBIRTH" and reign:
                yield reign
                reign = []
            if one.type != "NDEATH":
                reign.append(one)
        if reign:
            yield reign


@dataclass(frozen=True)
class Suite:
    """All scenarios by name."""

    transcripts: Mapping[str, Transcript]

    def __getitem__(self, name: str) -> Transcript:
        return self.transcripts[name]

    def __iter__(self) -> Iterator[Transcript]:
        return iter(self.transcripts.values())

    def sent(self, *types: str) -> list[tuple[Transcript, Said]]:
        """What was published in all scenarios, at least one message: a rule about nothing proves nothing."""
        found = [(transcript, one) for transcript in self for one in transcript.sent(*types)]
        assert found, f"no scenario has {types}"
        return found


def bdseq(payload: Any) -> int:
    """The bdSeq of a birth, death or will; AssertionError where there isn't exactly one."""
    numbers = [metric.long_value for metric in payload.metrics if metric.name == "bdSeq"]
    assert len(numbers) == 1, f"{len(numbers)} bdSeq metrics"
    return int(numbers[0])


def metrics_of(suite: Suite, *types: str) -> Iterator[tuple[str, Any]]:
    """(what to call it, metric) of all messages of these types."""
    for transcript, one in suite.sent(*types):
        for metric in one.metrics:
            yield f"{transcript.name}: {one}: {metric.name or metric.alias}", metric
