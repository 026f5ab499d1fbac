"""Rules about what births announce and data then tell: metrics, current values, order, changes (chapters 4 to 6)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from tests.fakes.sparkplug.faults import clear, first, leave_out, named, put, repeated, rewritten
from tests.fakes.sparkplug.rules import Rule, Spoil, Where, message, rule
from tests.fakes.sparkplug.schema import FIELDS, value_of
from tests.fakes.sparkplug.transcript import BIRTHS, DATA, REBIRTH, Suite, metrics_of


def _required(kind: str) -> Callable[[Suite], None]:
    """Each metric has name, datatype, time, and a value of its type or is null."""

    def check(suite: Suite) -> None:
        for place, metric in metrics_of(suite, kind):
            assert metric.name, f"{place} has no name"
            assert metric.HasField("datatype"), f"{place} has no datatype"
            assert metric.HasField("timestamp"), f"{place} has no time"
            if value_of(metric) is not None:
                assert metric.HasField(FIELDS[metric.datatype]), f"{place} of type {metric.datatype} in another field"

    return check


def _announced(kind: str, data: str) -> Callable[[Suite], None]:
    """What data speak of, the birth before them held, and nothing is announced twice."""

    def check(suite: Suite) -> None:
        seen = 0
        for transcript in suite:
            known: dict[str | None, set[int]] = {}
            for one in transcript.sent(kind, data):
                aliases = [metric.alias for metric in one.metrics if metric.HasField("alias")]
                if one.type == kind:
                    known[one.device] = set(aliases)
                else:
                    seen += 1
                    assert set(aliases) <= known.get(one.device, set()), f"{transcript.name}: {one}: {aliases}"
        assert seen

    return check


def _current(kind: str) -> Callable[[Suite], None]:
    """A metric has one value at one time, wherever it is said; null metrics carry no value."""

    def check(suite: Suite) -> None:
        compared = 0
        for transcript in suite:
            said: dict[tuple[int, int], Any] = {}
            for one in transcript.sent(*BIRTHS, *DATA):
                for metric in one.metrics:
                    value = value_of(metric)
                    if not metric.HasField("alias") or value is None:
                        continue
                    known = said.setdefault((metric.alias, metric.timestamp), value)
                    compared += one.type == kind and (metric.alias, metric.timestamp) in said
                    same = known == value or (isinstance(value, float) and math.isnan(value) and math.isnan(known))
                    assert same, f"{transcript.name}: {one}: {value}, elsewhere {known}"
        assert compared

    return check


def dbirth_tells_the_newest(suite: Suite) -> None:
    """Births behind an outage hold what was read in it, and births of the first connection what was read before."""
    births = [one for one in suite["reconnect-5"].sent("DBIRTH") if one.device == "meter"]
    assert [value_of(one.metric("power")) for one in births] == [None, 14.0]
    first = {metric.name: value_of(metric) for one in suite["plain-5"].sent("DBIRTH")[:2] for metric in one.metrics}
    wanted = {"setpoint": 900, "temperature": 21.5, "power": 12.5, "energy": 4_000_000_000}
    assert wanted.items() <= first.items(), first
    _current("DBIRTH")(suite)


def _order(birth: str, data: str) -> Callable[[Suite], None]:
    """Metrics that aren't historical stand in time order."""

    def check(suite: Suite) -> None:
        several = 0
        for transcript, one in suite.sent(birth, data):
            times = [metric.timestamp for metric in one.metrics if not metric.is_historical]
            several += len(set(times)) > 1
            assert times == sorted(times), f"{transcript.name}: {one}: {times}"
        assert several, "no message has two times"

    return check


def _by_exception(kind: str) -> Callable[[Suite], None]:
    """What was said is not said again: same metric, time and value. Read-backs of commands apart."""

    def check(suite: Suite) -> None:
        seen = 0
        for transcript in suite:
            if transcript.name == "commands":
                continue
            for reign in transcript.births():
                said: set[tuple[int, int, Any]] = set()
                for one in reign:
                    for metric in one.metrics if one.type == kind else ():
                        seen += 1
                        key = (metric.alias, metric.timestamp, value_of(metric))
                        assert key not in said, f"{transcript.name}: {one}: {metric.alias} is said again"
                        said.add(key)
        assert seen

    return check


def rebirth_metric(suite: Suite) -> None:
    for _, one in suite.sent("NBIRTH"):
        assert sum(metric.name == REBIRTH for metric in one.metrics) == 1, f"{one}: not one {REBIRTH}"


def _rebirth(test: Callable[[Any], bool], text: str) -> Callable[[Suite], None]:
    def check(suite: Suite) -> None:
        for _, one in suite.sent("NBIRTH"):
            metric = one.metric(REBIRTH)
            assert metric is not None, f"{one} has no {REBIRTH}"
            assert test(metric), f"{one}: {text}"

    return check


def _carries_metrics(kind: str) -> Callable[[Suite], None]:
    def check(suite: Suite) -> None:
        for transcript, one in suite.sent(kind):
            assert one.metrics, f"{transcript.name}: {one} is empty"
            for metric in one.metrics:
                value_of(metric)

    return check


# faults


def _reverse(payload: Any) -> None:
    backwards = list(reversed(payload.metrics))
    assert backwards[0].timestamp != backwards[-1].timestamp
    del payload.metrics[:]
    payload.metrics.extend(backwards)


def _two_times(payload: Any) -> None:
    payload.metrics.append(payload.metrics[0])
    payload.metrics[1].timestamp -= 1
    payload.metrics[1].is_historical = False


def _faulty(where: Where, name: str) -> tuple[Spoil, ...]:
    return tuple(rewritten(where, named(name, fault)) for fault in _BIRTH_FAULTS)


_NBIRTH, _NDATA, _DDATA = message("NBIRTH"), message("NDATA"), message("DDATA")
_PRESS, _METER = message("DBIRTH", device="press"), message("DBIRTH", device="meter")
_BIRTH_FAULTS: Final = (clear("name"), clear("datatype"), clear("timestamp"), clear("is_null"))
RULES: Final[tuple[Rule, ...]] = (
    rule(
        _required("NBIRTH"),
        "topics-nbirth-metric-reqs topics-nbirth-metrics message-flow-edge-node-birth-publish-nbirth-payload",
        *_faulty(_NBIRTH, "Gateway/Event"),
        rewritten(_NBIRTH, named("bdSeq", put("datatype", 10))),
    ),
    rule(
        _required("DBIRTH"),
        "topics-dbirth-metric-reqs topics-dbirth-metrics message-flow-device-birth-publish-dbirth-payload",
        *_faulty(_PRESS, "batch_id"),
        rewritten(_PRESS, named("setpoint", put("datatype", 10))),
    ),
    rule(
        _announced("NBIRTH", "NDATA"), "operational-behavior-data-publish-nbirth",
        rewritten(_NBIRTH, leave_out("Gateway/Event")),
    ),
    rule(
        _announced("DBIRTH", "DDATA"), "operational-behavior-data-publish-dbirth",
        rewritten(_METER, leave_out("power")),
    ),
    rule(
        _current("NBIRTH"), "operational-behavior-data-publish-nbirth-values",
        rewritten(_NBIRTH, named("Gateway/Event", put("string_value", "x"))),
    ),
    rule(
        dbirth_tells_the_newest, "operational-behavior-data-publish-dbirth-values",
        rewritten(_METER, named("power", put("double_value", 12.0))),
        rewritten(message("DBIRTH", "reconnect-5", -1), named("power", put("double_value", 12.0))),
    ),
    rule(
        _order("NBIRTH", "NDATA"), "operational-behavior-data-publish-nbirth-order",
        rewritten(_NDATA, _two_times), rewritten(message("NBIRTH", "rebirth-5", 1), _two_times),
    ),
    rule(
        _order("DBIRTH", "DDATA"), "operational-behavior-data-publish-dbirth-order",
        rewritten(_METER, _reverse), rewritten(message("DDATA", nth=-1), _two_times),
    ),
    rule(
        _by_exception("NDATA"), "operational-behavior-data-publish-nbirth-change", repeated(_NDATA)
    ),
    rule(
        _by_exception("DDATA"), "operational-behavior-data-publish-dbirth-change principles-rbe-recommended",
        repeated(_DDATA),
    ),
    rule(
        rebirth_metric, "topics-nbirth-rebirth-metric payloads-nbirth-rebirth-req"
        " operational-behavior-data-commands-rebirth-name",
        rewritten(_NBIRTH, leave_out(REBIRTH)), rewritten(_NBIRTH, named(REBIRTH, put("name", REBIRTH.lower()))),
    ),
    rule(
        _rebirth(lambda metric: not metric.HasField("alias"), "Rebirth has an alias"),
        "operational-behavior-data-commands-rebirth-name-aliases",
        rewritten(_NBIRTH, named(REBIRTH, put("alias", 99))),
    ),
    rule(
        _rebirth(lambda metric: metric.datatype == 11, "Rebirth is no Boolean"),
        "operational-behavior-data-commands-rebirth-datatype",
        rewritten(_NBIRTH, named(REBIRTH, put("datatype", 12))),
    ),
    rule(
        _rebirth(lambda metric: value_of(metric) is False, "Rebirth isn't false"),
        "operational-behavior-data-commands-rebirth-value",
        rewritten(_NBIRTH, named(REBIRTH, put("boolean_value", True))),
        rewritten(_NBIRTH, named(REBIRTH, put("int_value", 0))),
    ),
    *(
        rule(
            _carries_metrics(kind), f"topics-{kind.lower()}-payload",
            rewritten(message(kind), lambda payload: payload.ClearField("metrics")),
            rewritten(message(kind), first(put("is_null", True))),
        )
        for kind in DATA
    ),
)  # fmt: skip
