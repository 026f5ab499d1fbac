"""A Sparkplug host application's view of what a collector received, and its commands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from gateway.upstream.sparkplug.proto import Metric, Payload, decode
from tests.fakes.mosquitto import Collector, Received

GROUP, NODE = "g", "cell"


class Heard(NamedTuple):
    """One Sparkplug message: NBIRTH ... DDATA, the device (empty for the node), the payload."""

    kind: str
    device: str
    payload: Any

    @property
    def bdseq(self) -> int:
        """The bdSeq of an NBIRTH or NDEATH."""
        number: int = next(metric.long_value for metric in self.payload.metrics if metric.name == "bdSeq")
        return number


class Memory:
    """A spool's memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def recall(self, key: str) -> bytes | None:
        return self.kept.get(key)

    async def remember(self, key: str, value: bytes) -> None:
        self.kept[key] = value


def heard(messages: Iterable[Received]) -> list[Heard]:
    """The edge node's messages, in order."""
    found = []
    for message in messages:
        parts = message.topic.split("/")
        if parts[0] == "spBv1.0" and parts[1] == GROUP and not parts[2].endswith("CMD"):
            assert not message.retain
            found.append(Heard(parts[2], parts[4] if len(parts) > 4 else "", decode(message.payload)))
    return found


def kinds(messages: Iterable[Received]) -> list[str]:
    """`NBIRTH`, `DBIRTH d0`, ... in order."""
    return [f"{one.kind} {one.device}".strip() for one in heard(messages)]


def values(messages: Iterable[Received]) -> set[float]:
    """All doubles of all DDATA."""
    return {
        metric.double_value
        for one in heard(messages)
        if one.kind == "DDATA"
        for metric in one.payload.metrics
        if metric.WhichOneof("value") == "double_value"
    }


def check_sequence(messages: Iterable[Received]) -> None:
    """AssertionError where seq breaks, data precede births, or an alias was not announced."""
    expected: int | None = None
    aliases: set[int] = set()
    devices: set[str] = set()
    for one in heard(messages):
        if one.kind == "NDEATH":
            assert not one.payload.HasField("seq")
            assert [metric.name for metric in one.payload.metrics] == ["bdSeq"]
            continue
        if one.kind == "NBIRTH":
            expected, aliases, devices = 0, set(), set()
        assert expected is not None, f"{one.kind} before NBIRTH"
        assert one.payload.seq == expected, f"{one.kind} {one.device}: seq {one.payload.seq}, expected {expected}"
        expected = (expected + 1) % 256
        if one.kind == "DBIRTH":
            assert one.device not in devices, f"{one.device} was born twice"
            devices.add(one.device)
        if one.kind == "DDEATH":
            devices.remove(one.device)
        if one.kind.endswith("BIRTH"):
            fresh = [metric.alias for metric in one.payload.metrics if metric.HasField("alias")]
            assert all(metric.name and metric.datatype for metric in one.payload.metrics)
            assert one.kind == "DBIRTH" or not aliases
            aliases.update(fresh)
        elif one.kind.endswith("DATA"):
            assert one.kind == "NDATA" or one.device in devices
            assert all(metric.alias in aliases and not metric.name for metric in one.payload.metrics)
            assert len({metric.is_historical for metric in one.payload.metrics}) == 1
        times = [metric.timestamp for metric in one.payload.metrics]
        assert times == sorted(times)


def rebirth(host: Collector) -> None:
    """Ask the node for births."""
    payload = Payload(timestamp=1)
    payload.metrics.add(name="Node Control/Rebirth", datatype=11, boolean_value=True)
    host.publish(f"spBv1.0/{GROUP}/NCMD/{NODE}", payload.SerializeToString())


def command(host: Collector, device: str, *, retain: bool = False, **metric: Any) -> None:
    """Write one metric of a device."""
    payload = Payload(timestamp=1)
    payload.metrics.append(Metric(timestamp=1, **metric))
    host.publish(f"spBv1.0/{GROUP}/DCMD/{NODE}/{device}", payload.SerializeToString(), retain=retain)
