"""Rules about commands: the form a host gives them is taken, what must not be taken is refused (chapters 4, 5, 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.fakes.sparkplug.faults import changed, dropped, facts_changed, moved, rewritten
from tests.fakes.sparkplug.rules import Rule, message, rule
from tests.fakes.sparkplug.schema import value_of
from tests.fakes.sparkplug.transcript import REBIRTH, Said, Suite, Transcript, bdseq

Test = Callable[[Said], bool]
IN_FLIGHT: Final = 3  # messages that may have left before the node could know


def _is_rebirth(one: Said) -> bool:
    return any(metric.name == REBIRTH and value_of(metric) is True for metric in one.metrics)


def _carried_out(transcript: Transcript) -> list[Said]:
    """The DCMDs whose value was written and came back in a DDATA behind them."""
    found = []
    for one in transcript.received("DCMD"):
        (metric,) = one.metrics
        value = value_of(metric)
        later = [other for other in transcript.sent("DDATA") if other.place > one.place and other.device == one.device]
        told = any(value_of(answer) == value for other in later for answer in other.metrics)
        if told and value in [written for _, written in transcript.facts["written"]]:
            found.append(one)
    return found


def _answered(transcript: Transcript) -> list[Said]:
    """The NCMDs behind which births came, before the next command."""
    commands = transcript.received("NCMD", "DCMD")
    found = []
    for number, one in enumerate(commands):
        end = commands[number + 1].place if number + 1 < len(commands) else len(transcript.packets)
        born = any(one.place < other.place < end for other in transcript.sent("NBIRTH"))
        if one.type == "NCMD" and born:
            found.append(one)
    return found


def _dcmd(test: Test) -> Callable[[Suite], None]:
    """A command of this form is carried out."""

    def check(suite: Suite) -> None:
        assert any(test(one) for one in _carried_out(suite["commands"]))

    return check


def _ncmd(test: Test) -> Callable[[Suite], None]:
    """A rebirth request of this form is answered with births."""

    def check(suite: Suite) -> None:
        for name in ("commands", "rebirth-5", "rebirth-3.1.1"):
            assert any(test(one) and _is_rebirth(one) for one in _answered(suite[name])), name

    return check


def a_metric_time_is_optional(suite: Suite) -> None:
    _dcmd(lambda one: one.metrics[0].HasField("timestamp"))(suite)
    _dcmd(lambda one: not one.metrics[0].HasField("timestamp"))(suite)


def retained_commands_are_refused(suite: Suite) -> None:
    transcript = suite["commands"]
    retained = [one for one in transcript.received("DCMD") if one.packet.retain]
    assert retained
    for one in retained:
        assert one not in _carried_out(transcript), f"{one} is retained and carried out"
    refused = [body["error"] for kind, body in transcript.facts["audit"] if kind == "refused"]
    assert "it is retained" in refused, "no record of the refusal"
    assert any(not one.packet.retain for one in _carried_out(transcript))


def bad_values_are_refused(suite: Suite) -> None:
    """Out of range, wrong type, read only, unknown: recorded, not written; what is known tells its current value."""
    transcript = suite["commands"]
    assert transcript.facts["written"] == [("press.setpoint", 900), ("press.setpoint", 901), ("press.running", True)]
    refused = [
        result["status"] for results in transcript.facts["results"] for result in results if "readback" not in result
    ]
    for status in ("out_of_range", "bad_type", "denied", "unknown_tag"):
        assert status in refused, refused
    wrong = next(one for one in transcript.received("DCMD") if value_of(one.metrics[0]) == 1501)
    told = next(other for other in transcript.sent("DDATA") if other.place > wrong.place)
    assert [(metric.alias, value_of(metric)) for metric in told.metrics] == [(1, 7)], "the current value follows"


def only_rebirth_true_is_a_rebirth(suite: Suite) -> None:
    """Another name or value brings no births."""
    others = 0
    for name in ("commands", "rebirth-5", "rebirth-3.1.1"):
        transcript = suite[name]
        answered = _answered(transcript)
        for one in transcript.received("NCMD"):
            assert (one in answered) == _is_rebirth(one), f"{name}: {one}"
            others += not _is_rebirth(one)
    assert others >= 4


def node_metrics_are_read_only(suite: Suite) -> None:
    """A command to one is recorded and changes nothing."""
    transcript = suite["commands"]
    (asked,) = [one for one in transcript.received("NCMD") if one.metrics[0].name == "Gateway/Version"]
    wanted = value_of(asked.metrics[0])
    results = {result["tag"]: result["status"] for results in transcript.facts["results"] for result in results}
    assert results["Gateway/Version"] == "unknown_tag"
    births = transcript.sent("NBIRTH")
    assert births[-1].place > asked.place
    assert value_of(births[-1].metric("Gateway/Version")) != wanted


def data_stop_at_once(suite: Suite) -> None:
    """Behind a rebirth request nothing comes before NBIRTH but what was on its way."""
    seen = 0
    for transcript in suite:
        for one in transcript.received("NCMD"):
            if _is_rebirth(one):
                seen += 1
                after = [other.type for other in transcript.sent() if other.place > one.place]
                assert "NBIRTH" in after, f"{transcript.name}: no births behind {one}"
                assert after.index("NBIRTH") <= IN_FLIGHT, f"{transcript.name}: {after} behind {one}"
    assert seen


def births_follow_in_full(suite: Suite) -> None:
    for name in ("rebirth-5", "rebirth-3.1.1", "commands"):
        for reign in suite[name].births():
            kinds = [(one.type, one.device) for one in reign[:3]]
            assert sorted(kinds, key=str) == [("DBIRTH", "meter"), ("DBIRTH", "press"), ("NBIRTH", None)], kinds
            assert kinds[0] == ("NBIRTH", None)


def data_go_on_behind_births(suite: Suite) -> None:
    """With the bdSeq of before."""
    for name in ("rebirth-5", "rebirth-3.1.1"):
        transcript = suite[name]
        reigns = list(transcript.births())
        assert len(reigns) == 2
        assert "DDATA" in [one.type for one in reigns[1]], "no data behind the second births"
        assert len({bdseq(reign[0].payload) for reign in reigns}) == 1, "another bdSeq without another CONNECT"
        assert len(transcript.connects) == 1


def _metric(field: str, value: Any) -> Callable[[Any], None]:
    return lambda payload: setattr(payload.metrics[0], field, value)


def _more(payload: Any) -> None:
    next(metric for metric in payload.metrics if metric.name == "bdSeq").long_value += 1


_NOTHING = facts_changed("commands", written=[])
_UNANSWERED = dropped(message("NBIRTH", "commands", 1))
RULES: Final[tuple[Rule, ...]] = (
    rule(
        _dcmd(lambda one: one.packet.topic == "spBv1.0/g/DCMD/cell/press"),
        "operational-behavior-data-commands-dcmd-verb topics-dcmd-topic topics-dcmd-payload", _NOTHING,
    ),
    rule(
        _dcmd(lambda one: one.metrics[0].name == "setpoint" and not one.metrics[0].HasField("alias")),
        "operational-behavior-data-commands-dcmd-metric-name", _NOTHING,
    ),
    rule(
        _dcmd(lambda one: value_of(one.metrics[0]) == 900), "operational-behavior-data-commands-dcmd-metric-value",
        _NOTHING, facts_changed("commands", written=[("press.setpoint", 899)]),
    ),
    rule(_dcmd(lambda one: one.packet.qos == 0 and not one.packet.retain), "topics-dcmd-mqtt", _NOTHING),
    rule(_dcmd(lambda one: one.packet.qos == 0), "payloads-dcmd-qos", _NOTHING),
    rule(_dcmd(lambda one: not one.payload.HasField("seq")), "payloads-dcmd-seq", _NOTHING),
    rule(
        _dcmd(lambda one: one.payload.HasField("timestamp")), "topics-dcmd-timestamp payloads-dcmd-timestamp", _NOTHING
    ),
    rule(
        retained_commands_are_refused, "payloads-dcmd-retain payloads-ncmd-retain",
        changed(message("DCMD", "commands", sent=False), retain=True), facts_changed("commands", audit=[]),
    ),
    rule(
        a_metric_time_is_optional, "payloads-name-cmd-requirement",
        facts_changed("commands", written=[("press.setpoint", 900)]),
        facts_changed("commands", written=[("press.setpoint", 901)]),
    ),
    rule(
        _ncmd(lambda one: one.packet.topic == "spBv1.0/g/NCMD/cell"),
        "operational-behavior-data-commands-ncmd-rebirth-verb topics-ncmd-topic", _UNANSWERED,
    ),
    rule(_ncmd(lambda one: one.packet.qos == 0 and not one.packet.retain), "topics-ncmd-mqtt", _UNANSWERED),
    rule(_ncmd(lambda one: one.packet.qos == 0), "payloads-ncmd-qos", _UNANSWERED),
    rule(_ncmd(lambda one: not one.payload.HasField("seq")), "payloads-ncmd-seq", _UNANSWERED),
    rule(
        _ncmd(lambda one: one.payload.HasField("timestamp")), "topics-ncmd-timestamp payloads-ncmd-timestamp",
        _UNANSWERED,
    ),
    rule(
        only_rebirth_true_is_a_rebirth,
        "operational-behavior-data-commands-ncmd-rebirth-name operational-behavior-data-commands-ncmd-rebirth-value",
        _UNANSWERED, rewritten(message("NCMD", "rebirth-5", -1, sent=False), _metric("boolean_value", False)),
        rewritten(message("NCMD", "rebirth-3.1.1", -1, sent=False), _metric("name", "Node Control/Reboot")),
    ),
    rule(
        node_metrics_are_read_only,
        "operational-behavior-data-commands-ncmd-verb operational-behavior-data-commands-ncmd-metric-name"
        " operational-behavior-data-commands-ncmd-metric-value topics-ncmd-payload",
        rewritten(message("NBIRTH", "commands", 1), _metric("string_value", "x")),
        facts_changed("commands", results=[[{"tag": "Gateway/Version", "status": "ok"}]]),
    ),
    rule(
        data_stop_at_once, "operational-behavior-data-commands-rebirth-action-1",
        moved(message("NCMD", "rebirth-5", -1, sent=False), message("DBIRTH", "rebirth-5")),
        _UNANSWERED,
    ),
    rule(
        births_follow_in_full, "operational-behavior-data-commands-rebirth-action-2",
        dropped(message("DBIRTH", "rebirth-5", 3)),
        moved(message("DDATA", "rebirth-5", -1), message("DBIRTH", "rebirth-5", 2)),
    ),
    rule(
        data_go_on_behind_births, "operational-behavior-data-commands-rebirth-action-3",
        rewritten(message("NBIRTH", "rebirth-5", 1), _more), dropped(message("NBIRTH", "rebirth-3.1.1", 1)),
    ),
)  # fmt: skip
OURS: Final[tuple[Rule, ...]] = (
    rule(
        bad_values_are_refused, "ours-refused-commands",
        facts_changed("commands", written=[("press.setpoint", 1501)]), facts_changed("commands", results=[]),
    ),
)  # fmt: skip
