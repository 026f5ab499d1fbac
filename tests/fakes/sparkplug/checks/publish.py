"""Rules about each message as it is published: QoS, retain, payload time, seq, order (chapters 4, 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Final

from tests.fakes.sparkplug.faults import changed, dropped, moved, rewritten
from tests.fakes.sparkplug.rules import Rule, Where, message, rule
from tests.fakes.sparkplug.transcript import Said, Suite, Transcript

Check = Callable[[Suite], None]
PATIENCE_MS: Final = 20_000  # between a message's time and its passing by, on a busy machine
SKEW_MS: Final = 50  # the gateway's clock follows a slewed wall clock in steps
DEVICES: Final = ("press", "meter")


def _qos(kind: str) -> Check:
    def check(suite: Suite) -> None:
        for transcript, one in suite.sent(kind):
            assert one.packet.qos == 0, f"{transcript.name}: {one} at QoS {one.packet.qos}"

    return check


def _retain(kind: str) -> Check:
    def check(suite: Suite) -> None:
        for transcript, one in suite.sent(kind):
            assert not one.packet.retain, f"{transcript.name}: {one} is retained"

    return check


def _mqtt(kind: str) -> Check:
    def check(suite: Suite) -> None:
        _qos(kind)(suite)
        _retain(kind)(suite)

    return check


def _timestamp(*kinds: str) -> Check:
    """The payload has the time it was sent, in ms of 1970 UTC."""

    def check(suite: Suite) -> None:
        for transcript, one in suite.sent(*kinds):
            assert one.payload.HasField("timestamp"), f"{transcript.name}: {one} has no time"
            late_ms = one.packet.at_ms - one.payload.timestamp
            assert -SKEW_MS <= late_ms <= PATIENCE_MS, f"{transcript.name}: {one} is {late_ms} ms old"

    return check


def _counted(suite: Suite) -> Iterator[tuple[Transcript, Said, int]]:
    """Each message with the seq it must have."""
    for transcript in suite:
        for reign in transcript.births():
            for number, one in enumerate(reign):
                yield transcript, one, number % 256


def _seq(kind: str) -> Check:
    def check(suite: Suite) -> None:
        seen = 0
        for transcript, one, expected in _counted(suite):
            if one.type == kind:
                seen += 1
                assert one.payload.HasField("seq"), f"{transcript.name}: {one} has no seq"
                assert one.payload.seq == expected, f"{transcript.name}: {one}: {one.payload.seq}, not {expected}"
        assert seen

    return check


def seq_is_always_there(suite: Suite) -> None:
    for transcript, one in suite.sent():
        has = one.payload.HasField("seq")
        assert has == (one.type != "NDEATH"), f"{transcript.name}: {one}"


def seq_counts_to_255_and_around(suite: Suite) -> None:
    for transcript, one, expected in _counted(suite):
        assert one.payload.seq == expected, f"{transcript.name}: {one}: seq {one.payload.seq}, not {expected}"
    numbers = [one.payload.seq for one in suite["long"].sent() if one.type != "NDEATH"]
    assert (255, 0) in pairwise(numbers), "no scenario counts that far"


def dbirth_waits_for_nbirth(suite: Suite) -> None:
    for transcript, one in suite.sent("DBIRTH"):
        before = [
            other
            for other in transcript.sent("NBIRTH")
            if other.place < one.place and other.packet.connection == one.packet.connection
        ]
        assert before, f"{transcript.name}: {one} without an NBIRTH on its connection"


def _data_waits_for_births(kind: str) -> Check:
    """NBIRTH and all DBIRTHs, then data."""

    def check(suite: Suite) -> None:
        seen = 0
        for transcript in suite:
            for reign in transcript.births():
                first = next((place for place, one in enumerate(reign) if one.type == kind), None)
                if first is None:
                    continue
                seen += 1
                assert reign[0].type == "NBIRTH", f"{transcript.name}: {kind} before NBIRTH"
                born = {one.device for one in reign[:first] if one.type == "DBIRTH"}
                assert born == set(DEVICES), f"{transcript.name}: {reign[first]} behind the births of {born}"
                connections = {one.packet.connection for one in reign}
                assert len(connections) == 1, f"{transcript.name}: {kind} over another connection than its NBIRTH"
        assert seen

    return check


def dbirths_before_data(suite: Suite) -> None:
    """Of every device, at once behind NBIRTH."""
    for transcript in suite:
        for reign in transcript.births():
            kinds = [one.type for one in reign[: 1 + len(DEVICES)]]
            assert kinds == ["NBIRTH", *["DBIRTH"] * len(DEVICES)], f"{transcript.name}: {kinds}"
            assert {one.device for one in reign[1 : 1 + len(DEVICES)]} == set(DEVICES)


def a_lost_device_dies(suite: Suite) -> None:
    """DDEATH for each device whose link was lost; no data of it until its DBIRTH."""
    lost = suite["device"]
    died = sorted(str(one.device) for one in lost.sent("DDEATH"))
    assert died == lost.facts["died"], died
    for transcript in suite:
        alive: set[str | None] = set()
        for one in transcript.sent():
            if one.type == "NBIRTH":
                alive.clear()
            elif one.type == "DBIRTH":
                alive.add(one.device)
            elif one.type == "DDEATH":
                alive.discard(one.device)
            elif one.type == "DDATA":
                assert one.device in alive, f"{transcript.name}: {one} of a device that isn't born"


def _payload(**fields: Any) -> Callable[[Any], None]:
    def change(payload: Any) -> None:
        for name, value in fields.items():
            setattr(payload, name, value)

    return change


def _without(name: str) -> Callable[[Any], object]:
    return lambda payload: payload.ClearField(name)


def _in_seconds(payload: Any) -> None:
    payload.timestamp //= 1000


def _times(where: Where) -> tuple[Any, ...]:
    return (
        rewritten(where, _without("timestamp")),
        rewritten(where, _in_seconds),
        rewritten(where, lambda payload: setattr(payload, "timestamp", payload.timestamp + 60_000)),
    )


def _typed(kind: str) -> Where:
    return message(kind, "device")


RULES: Final[tuple[Rule, ...]] = (
    *(
        rule(_qos(kind), ids, changed(_typed(kind), qos=1))
        for kind, ids in {
            "NBIRTH": "payloads-nbirth-qos message-flow-edge-node-birth-publish-nbirth-qos",
            "DBIRTH": "payloads-dbirth-qos message-flow-device-birth-publish-dbirth-qos",
            "NDATA": "payloads-ndata-qos",
            "DDATA": "payloads-ddata-qos",
        }.items()
    ),
    *(
        rule(_retain(kind), ids, changed(_typed(kind), retain=True))
        for kind, ids in {
            "NBIRTH": "payloads-nbirth-retain message-flow-edge-node-birth-publish-nbirth-retained",
            "DBIRTH": "payloads-dbirth-retain message-flow-device-birth-publish-dbirth-retained",
            "NDATA": "payloads-ndata-retain",
            "DDATA": "payloads-ddata-retain",
        }.items()
    ),
    *(
        rule(
            _mqtt(kind), f"topics-{kind.lower()}-mqtt",
            changed(_typed(kind), qos=1), changed(_typed(kind), retain=True),
        )
        for kind in ("NBIRTH", "DBIRTH", "NDATA", "DDATA", "DDEATH")
    ),
    *(
        rule(
            _timestamp(kind), f"topics-{kind.lower()}-timestamp payloads-{kind.lower()}-timestamp",
            *_times(_typed(kind)),
        )
        for kind in ("NBIRTH", "DBIRTH", "NDATA", "DDATA")
    ),
    rule(_timestamp("DDEATH"), "payloads-ddeath-timestamp", *_times(_typed("DDEATH"))),
    rule(
        _timestamp("NBIRTH", "DBIRTH", "NDATA", "DDATA", "DDEATH", "NDEATH"), "payloads-timestamp-in-UTC",
        *_times(message("NDEATH")),
    ),
    *(
        rule(
            _seq(kind), ids, rewritten(_typed(kind), _payload(seq=77)), rewritten(_typed(kind), _without("seq"))
        )
        for kind, ids in {
            "NBIRTH": "topics-nbirth-seq-num payloads-nbirth-seq payloads-sequence-num-req-nbirth"
            " message-flow-edge-node-birth-publish-nbirth-payload-seq",
            "DBIRTH": "topics-dbirth-seq payloads-dbirth-seq payloads-dbirth-seq-inc"
            " message-flow-device-birth-publish-dbirth-payload-seq",
            "NDATA": "topics-ndata-seq-num payloads-ndata-seq payloads-ndata-seq-inc",
            "DDATA": "topics-ddata-seq-num payloads-ddata-seq payloads-ddata-seq-inc",
            "DDEATH": "topics-ddeath-seq-num payloads-ddeath-seq payloads-ddeath-seq-inc payloads-ddeath-seq-number",
        }.items()
    ),
    rule(
        seq_is_always_there, "payloads-sequence-num-always-included",
        rewritten(_typed("DDEATH"), _without("seq")), rewritten(message("NDEATH"), _payload(seq=0)),
    ),
    rule(
        seq_counts_to_255_and_around, "payloads-sequence-num-incrementing",
        dropped(message("DDATA", "long", 100)), rewritten(message("DDATA", "long", -1), _payload(seq=256)),
    ),
    rule(
        dbirth_waits_for_nbirth, "message-flow-device-birth-publish-nbirth-wait",
        moved(message("DBIRTH"), message("NBIRTH")), dropped(message("NBIRTH", "reconnect-5", 1)),
    ),
    rule(
        dbirths_before_data, "payloads-dbirth-order",
        moved(message("DDATA"), message("DBIRTH")), dropped(message("DBIRTH", "rebirth-5", 3)),
    ),
    rule(
        _data_waits_for_births("NDATA"), "payloads-ndata-order",
        moved(message("NDATA"), message("NBIRTH")), moved(message("NDATA"), message("DBIRTH")),
    ),
    rule(
        _data_waits_for_births("DDATA"), "payloads-ddata-order",
        moved(message("DDATA"), message("NBIRTH")), moved(message("DDATA"), message("DBIRTH", nth=1)),
        dropped(message("NBIRTH", "reconnect-5", 1)),
    ),
    rule(
        a_lost_device_dies, "operational-behavior-device-ddeath",
        dropped(message("DDEATH", "device")), dropped(message("DBIRTH", "device", 2)),
    ),
)  # fmt: skip
