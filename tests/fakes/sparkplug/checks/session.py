"""Rules about CONNECT, the will, subscriptions, bdSeq and the goodbye (chapters 2, 5, 6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tests.fakes.sparkplug.faults import changed, dropped, moved, repeated, rewritten, will_changed, will_rewritten
from tests.fakes.sparkplug.rules import Rule, message, packet, rule
from tests.fakes.sparkplug.schema import decode
from tests.fakes.sparkplug.stage import GROUP
from tests.fakes.sparkplug.tap import Packet, Will
from tests.fakes.sparkplug.transcript import Suite, Transcript, bdseq

INT64: Final = 4
DEVICES: Final = ("press", "meter")


def _connects(suite: Suite, level: int) -> list[Packet]:
    found = [connect for transcript in suite for connect in transcript.connects if connect.level == level]
    assert found, f"no scenario connects with level {level}"
    return found


def clean_session_311(suite: Suite) -> None:
    assert all(connect.clean for connect in _connects(suite, 4))


def clean_start_50(suite: Suite) -> None:
    assert all(connect.clean and connect.expiry == 0 for connect in _connects(suite, 5))


def session_before_births(suite: Suite) -> None:
    """CONNECT, CONNACK without an error, then the rest."""
    for transcript in suite:
        for session in transcript.sessions:
            kinds = [one.kind for _, one in session]
            if "PUBLISH" in kinds:
                assert kinds[:2] == ["CONNECT", "CONNACK"], f"{transcript.name}: {kinds[:3]}"
                assert session[1][1].codes == (0,)


def births_come_first(suite: Suite) -> None:
    for transcript in suite:
        for session in transcript.sessions:
            published = [one.topic.split("/")[2:3] for _, one in session if one.kind == "PUBLISH" and one.sent]
            if published:
                assert published[0] == ["NBIRTH"], f"{transcript.name}: {published[0]} comes first"


def _granted(transcript: Transcript, session: list[tuple[int, Packet]]) -> set[str]:
    """The filters granted with QoS 1 before the session's NBIRTH."""
    asked: dict[int, tuple[tuple[str, int], ...]] = {}
    granted: set[str] = set()
    for _, one in session:
        if one.kind == "SUBSCRIBE":
            asked[one.mid] = one.filters
        elif one.kind == "SUBACK":
            for (name, qos), code in zip(asked.pop(one.mid), one.codes, strict=True):
                assert qos == 1, f"{transcript.name}: {name} is subscribed at QoS {qos}"
                assert code == 1, f"{transcript.name}: {name} is granted {code:#x}"
                granted.add(name)
        elif one.kind == "PUBLISH" and "/NBIRTH/" in one.topic:
            break
    return granted


def _subscribed(suite: Suite) -> Iterator[tuple[str, set[str]]]:
    for transcript in suite:
        for session in transcript.sessions:
            yield transcript.facts.get("node", "cell"), _granted(transcript, session)


def ncmd_is_subscribed(suite: Suite) -> None:
    for node, granted in _subscribed(suite):
        assert f"spBv1.0/{GROUP}/NCMD/{node}" in granted, granted


def dcmd_is_subscribed(suite: Suite) -> None:
    for node, granted in _subscribed(suite):
        assert {f"spBv1.0/{GROUP}/DCMD/{node}/{device}" for device in DEVICES} <= granted, granted


def _wills(suite: Suite) -> Iterator[tuple[Transcript, Will]]:
    for transcript in suite:
        for connect in transcript.connects:
            assert connect.will is not None, f"{transcript.name}: a CONNECT without a will"
            yield transcript, connect.will


def will_is_there(suite: Suite) -> None:
    assert list(_wills(suite))


def will_topic(suite: Suite) -> None:
    for transcript, will in _wills(suite):
        assert will.topic == f"spBv1.0/{GROUP}/NDEATH/{transcript.facts.get('node', 'cell')}"


def will_qos(suite: Suite) -> None:
    assert all(will.qos == 1 for _, will in _wills(suite))


def will_retain(suite: Suite) -> None:
    assert not any(will.retain for _, will in _wills(suite))


def _deaths(suite: Suite) -> Iterator[Any]:
    """The payloads of all wills and of all NDEATHs that were published."""
    yield from (decode(will.payload) for _, will in _wills(suite))
    yield from (one.payload for _, one in suite.sent("NDEATH"))


def ndeath_holds_bdseq_alone(suite: Suite) -> None:
    for payload in _deaths(suite):
        assert [metric.name for metric in payload.metrics] == ["bdSeq"], payload


def ndeath_has_no_seq(suite: Suite) -> None:
    assert not any(payload.HasField("seq") for payload in _deaths(suite))


def will_bdseq(suite: Suite) -> None:
    """Int64 from 0 to 255."""
    for _, will in _wills(suite):
        payload = decode(will.payload)
        assert 0 <= bdseq(payload) <= 255
        (metric,) = payload.metrics
        assert metric.datatype == INT64, metric
        assert metric.HasField("long_value"), metric


def nbirth_bdseq_included(suite: Suite) -> None:
    for _, one in suite.sent("NBIRTH"):
        metric = one.metric("bdSeq")
        assert metric is not None, f"{one} has no bdSeq"
        assert metric.datatype == INT64, metric
        assert metric.HasField("long_value"), metric


def bdseq_matches_the_will(suite: Suite) -> None:
    """Births, rebirths included, and deaths carry the number of their connection's will."""
    for transcript, one in suite.sent("NBIRTH", "NDEATH"):
        will = transcript.connect_of(one).will
        assert will is not None
        assert bdseq(one.payload) == bdseq(decode(will.payload)), f"{transcript.name}: {one}"


def bdseq_increments(suite: Suite) -> None:
    """From 0, or from what was remembered, by one with each CONNECT; 0 follows 255."""
    several = 0
    for transcript in suite:
        expected = (transcript.facts.get("remembered", 255) + 1) % 256
        numbers = [bdseq(decode(will.payload)) for other, will in _wills(suite) if other is transcript]
        assert numbers == [(expected + count) % 256 for count in range(len(numbers))], f"{transcript.name}: {numbers}"
        several += len(numbers) > 1
    assert several
    restarted = [bdseq(one.payload) for one in suite["restart"].sent("NBIRTH")]
    assert restarted == [254, 255, 0], restarted


def _goodbyes(suite: Suite, *levels: int) -> Iterator[tuple[Transcript, list[Packet], Packet]]:
    """(transcript, what was sent before, DISCONNECT) of the sessions the node ended by itself."""
    seen = False
    for transcript in suite:
        for session in transcript.sessions:
            sent = [one for _, one in session if one.sent]
            for place, one in enumerate(sent):
                if one.kind == "DISCONNECT" and session[0][1].level in levels:
                    seen = True
                    yield transcript, sent[:place], one
    assert seen, "no scenario ends a connection by itself"


def _ndeath_before_disconnect(suite: Suite, *levels: int) -> None:
    for transcript, before, _ in _goodbyes(suite, *levels):
        assert before[-1].kind == "PUBLISH", f"{transcript.name}: {before[-1].kind} before DISCONNECT"
        assert "/NDEATH/" in before[-1].topic, f"{transcript.name}: {before[-1].topic} before DISCONNECT"


def ndeath_before_disconnect(suite: Suite) -> None:
    _ndeath_before_disconnect(suite, 4, 5)


def ndeath_before_disconnect_311(suite: Suite) -> None:
    _ndeath_before_disconnect(suite, 4)


def ndeath_before_disconnect_50(suite: Suite) -> None:
    _ndeath_before_disconnect(suite, 5)


def disconnect_follows_ndeath(suite: Suite) -> None:
    """Behind a published NDEATH nothing comes but DISCONNECT, which in MQTT 5 asks for the will too."""
    for transcript in suite:
        for session in transcript.sessions:
            sent = [one for _, one in session if one.sent]
            for place, one in enumerate(sent):
                if one.kind == "PUBLISH" and "/NDEATH/" in one.topic:
                    after = [later.kind for later in sent[place + 1 :]]
                    assert after == ["DISCONNECT"], f"{transcript.name}: {after} behind NDEATH"
                    assert sent[-1].codes == ((4,) if session[0][1].level == 5 else (0,))


def _hours(payload: Any) -> None:
    payload.metrics.add(name="hours", timestamp=payload.timestamp, datatype=INT64, long_value=1)


def _more(payload: Any) -> None:
    next(metric for metric in payload.metrics if metric.name == "bdSeq").long_value += 1


def _int32(payload: Any) -> None:
    metric = next(metric for metric in payload.metrics if metric.name == "bdSeq")
    metric.datatype, metric.int_value = 3, metric.long_value


def _without_bdseq(payload: Any) -> None:
    kept = [metric for metric in payload.metrics if metric.name != "bdSeq"]
    del payload.metrics[:]
    payload.metrics.extend(kept)


_CONNECT = packet("CONNECT")
_NBIRTH = message("NBIRTH")
RULES: Final[tuple[Rule, ...]] = (
    rule(
        clean_session_311, "principles-persistence-clean-session-311",
        changed(packet("CONNECT", "reconnect-3.1.1", 1), clean=False),
    ),
    rule(
        clean_start_50, "principles-persistence-clean-session-50",
        changed(packet("CONNECT", "reconnect-5", 1), clean=False), changed(_CONNECT, expiry=60),
    ),
    rule(
        session_before_births, "message-flow-edge-node-birth-publish-connect",
        dropped(packet("CONNACK", sent=False)), changed(packet("CONNACK", sent=False), codes=(0x87,)),
        moved(_NBIRTH, packet("CONNACK", sent=False)),
    ),
    rule(births_come_first, "principles-birth-certificates-order", moved(message("DBIRTH"), _NBIRTH)),
    rule(
        ncmd_is_subscribed, "message-flow-edge-node-ncmd-subscribe",
        changed(packet("SUBSCRIBE"), filters=(("spBv1.0/g/NCMD/cell", 0), ("x", 1), ("y", 1))),
        changed(packet("SUBSCRIBE"), filters=(("spBv1.0/g/NCMD/other", 1), ("x", 1), ("y", 1))),
        changed(packet("SUBACK", sent=False), codes=(0x87, 1, 1)),
        moved(_NBIRTH, packet("SUBACK", sent=False)),
    ),
    rule(
        dcmd_is_subscribed, "message-flow-device-dcmd-subscribe",
        changed(packet("SUBSCRIBE"), filters=(("spBv1.0/g/NCMD/cell", 1), ("spBv1.0/g/DCMD/cell/press", 1), ("x", 1))),
        changed(packet("SUBACK", sent=False), codes=(1, 1, 0x80)),
    ),
    rule(
        will_is_there, "message-flow-edge-node-birth-publish-will-message payloads-ndeath-will-message",
        changed(_CONNECT, will=None),
    ),
    rule(
        will_topic, "message-flow-edge-node-birth-publish-will-message-topic",
        will_changed(_CONNECT, topic="spBv1.0/g/NDEATH/other"),
    ),
    rule(
        will_qos, "message-flow-edge-node-birth-publish-will-message-qos payloads-ndeath-will-message-qos",
        will_changed(_CONNECT, qos=0),
    ),
    rule(
        will_retain,
        "message-flow-edge-node-birth-publish-will-message-will-retained payloads-ndeath-will-message-retain",
        will_changed(_CONNECT, retain=True),
    ),
    rule(
        ndeath_holds_bdseq_alone,
        "message-flow-edge-node-birth-publish-will-message-payload topics-ndeath-payload",
        will_rewritten(_CONNECT, _hours), rewritten(message("NDEATH"), _without_bdseq),
    ),
    rule(
        ndeath_has_no_seq, "payloads-ndeath-seq topics-ndeath-seq",
        will_rewritten(_CONNECT, lambda payload: setattr(payload, "seq", 0)),
        rewritten(message("NDEATH"), lambda payload: setattr(payload, "seq", 9)),
    ),
    rule(
        will_bdseq, "message-flow-edge-node-birth-publish-will-message-payload-bdSeq",
        will_rewritten(_CONNECT, _int32), will_rewritten(_CONNECT, _without_bdseq),
    ),
    rule(
        nbirth_bdseq_included, "topics-nbirth-bdseq-included payloads-nbirth-bdseq",
        rewritten(_NBIRTH, _without_bdseq), rewritten(_NBIRTH, _int32),
    ),
    rule(
        bdseq_matches_the_will,
        "message-flow-edge-node-birth-publish-nbirth-payload-bdSeq topics-nbirth-bdseq-matching"
        " payloads-nbirth-bdseq-repeat payloads-ndeath-bdseq",
        rewritten(message("NBIRTH", "rebirth-5", 1), _more), rewritten(message("NDEATH"), _more),
        will_rewritten(packet("CONNECT", "reconnect-5", 1), _more),
    ),
    rule(
        bdseq_increments, "topics-nbirth-bdseq-increment",
        will_rewritten(packet("CONNECT", "reconnect-3.1.1", 1), _more), will_rewritten(_CONNECT, _more),
        will_rewritten(packet("CONNECT", "restart", 2), _more),
    ),
    rule(
        ndeath_before_disconnect,
        "operational-behavior-edge-node-intentional-disconnect-ndeath payloads-ndeath-will-message-publisher",
        dropped(message("NDEATH")),
    ),
    rule(
        ndeath_before_disconnect_311, "payloads-ndeath-will-message-publisher-disconnect-mqtt311",
        dropped(message("NDEATH", "plain-3.1.1")),
    ),
    rule(
        ndeath_before_disconnect_50, "payloads-ndeath-will-message-publisher-disconnect-mqtt50",
        dropped(message("NDEATH", "host")),
    ),
    rule(
        disconnect_follows_ndeath, "operational-behavior-edge-node-intentional-disconnect-packet",
        repeated(message("NDEATH")), dropped(packet("DISCONNECT")), changed(packet("DISCONNECT"), codes=(0,)),
    ),
)  # fmt: skip
