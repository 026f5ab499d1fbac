"""Our own rules where the specification is silent: replay, the barrier, and which spool block may go when."""

from __future__ import annotations

from typing import Any, Final

from tests.fakes.sparkplug.faults import dropped, moved, repeated, rewritten, unheard
from tests.fakes.sparkplug.rules import Rule, message, packet, rule
from tests.fakes.sparkplug.schema import decode, value_of
from tests.fakes.sparkplug.transcript import Suite


def history_is_marked(suite: Suite) -> None:
    """Data not newer than the birth's value are historical, newer ones are not, and the two share no message."""
    marked = 0
    for transcript in suite:
        born: dict[int, int] = {}
        for one in transcript.sent("NBIRTH", "DBIRTH", "NDATA", "DDATA"):
            if one.type.endswith("BIRTH"):
                born.update({metric.alias: metric.timestamp for metric in one.metrics})
                continue
            marks = {metric.is_historical for metric in one.metrics}
            assert len(marks) == 1, f"{transcript.name}: {one} mixes history and present"
            marked += True in marks
            for metric in one.metrics:
                late = metric.timestamp <= born[metric.alias]
                assert metric.is_historical == late, f"{transcript.name}: {one}: {metric.alias}"
    assert marked


def the_backlog_arrives(suite: Suite) -> None:
    """Each reading of the outage reached the host, oldest first, and the newest in order behind them."""
    for name in ("reconnect-5", "reconnect-3.1.1"):
        aliases = {metric.alias for metric in suite[name].sent("DBIRTH")[1].metrics if metric.name == "power"}
        values = [
            value_of(metric)
            for one in suite[name].sent("DDATA")
            for metric in one.metrics
            if metric.alias in aliases and one.packet.connection == suite[name].packets[-1].connection
        ]
        assert values == [900.0, 600.0, 300.0, 14.0], f"{name}: {values}"


def every_reading_arrives(suite: Suite) -> None:
    """At the host; on the way to it where there are two servers."""
    for transcript in suite:
        payloads = [decode(one.payload) for one in transcript.heard if "/DDATA/" in one.topic]
        if transcript.name == "walk":
            payloads = [one.payload for one in transcript.sent("DDATA")]
        arrived = {(metric.alias, metric.timestamp) for payload in payloads for metric in payload.metrics}
        missing = transcript.facts["offered"] - arrived
        assert transcript.facts["offered"], f"{transcript.name}: nothing was read"
        assert not missing, f"{transcript.name}: {sorted(missing)}"


def data_stand_before_a_barrier(suite: Suite) -> None:
    """A QoS 1 message, acknowledged, answers for all data before it; a wanted end leaves none without."""
    for transcript in suite:
        for session in transcript.sessions:
            open_data = 0
            waiting: dict[int, int] = {}
            for _, one in session:
                if one.kind == "PUBLISH" and one.sent and one.topic.endswith("/barrier"):
                    assert (one.qos, one.retain, one.payload) == (1, False, b""), f"{transcript.name}: {one}"
                    waiting[one.mid], open_data = open_data, 0
                elif one.kind == "PUBLISH" and one.sent and "DATA/" in one.topic:
                    open_data += 1
                elif one.kind == "PUBACK" and not one.sent:
                    waiting.pop(one.mid, None)
                elif one.kind == "PUBLISH" and one.sent and "/NDEATH/" in one.topic:
                    assert (open_data, waiting) == (0, {}), f"{transcript.name}: data without an answer"


def a_host_hears_the_will_too(suite: Suite) -> None:
    """MQTT 5: a wanted end gives NDEATH twice, a broken link once, each with its own session's number."""
    ends = [one for one in suite["plain-5"].heard if "/NDEATH/" in one.topic]
    assert len(ends) == 2
    cut = [one for one in suite["reconnect-5"].heard if "/NDEATH/" in one.topic]
    assert len(cut) == 3


def _mark(payload: Any) -> None:
    for metric in payload.metrics:
        metric.is_historical = True


def _mix(payload: Any) -> None:
    payload.metrics[0].is_historical = not payload.metrics[0].is_historical


_LAST = message("DDATA", "reconnect-5", -1)
OURS: Final[tuple[Rule, ...]] = (
    rule(history_is_marked, "ours-historical", rewritten(_LAST, _mark), rewritten(message("DDATA"), _mix)),
    rule(
        the_backlog_arrives, "ours-backlog",
        dropped(message("DDATA", "reconnect-5", 1, device="meter")), repeated(message("DDATA", "reconnect-3.1.1", -2)),
    ),
    rule(
        every_reading_arrives, "ours-every-reading",
        unheard("host", "/DDATA/"), unheard("reconnect-3.1.1", "/DDATA/"), dropped(message("DDATA", "walk", -1)),
    ),
    rule(
        data_stand_before_a_barrier, "ours-barrier",
        dropped(packet("PUBACK", sent=False)), moved(message("NDEATH"), packet("PUBACK", nth=4, sent=False)),
    ),
    rule(
        a_host_hears_the_will_too, "ours-will-of-a-wanted-end",
        unheard("plain-5", "/NDEATH/"), unheard("reconnect-5", "/NDEATH/"),
    ),
)  # fmt: skip
