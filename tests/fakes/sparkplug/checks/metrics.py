"""Rules about each metric: its name or alias, its time, its datatype (chapter 6)."""

from __future__ import annotations

from typing import Final

from tests.fakes.sparkplug.faults import clear, first, named, put, rewritten
from tests.fakes.sparkplug.rules import Rule, message, rule
from tests.fakes.sparkplug.schema import FIELDS, unknown
from tests.fakes.sparkplug.transcript import BIRTHS, DATA, REBIRTH, Suite, metrics_of

DAY_MS: Final = 86_400_000
SKEW_MS: Final = 50  # the gateway's clock follows a slewed wall clock in steps


def name_or_alias(suite: Suite) -> None:
    for place, metric in metrics_of(suite, *BIRTHS, *DATA):
        assert metric.name or metric.HasField("alias"), f"{place}: neither name nor alias"


def births_carry_name_and_alias(suite: Suite) -> None:
    """All but bdSeq, which deaths name, and Rebirth, which commands name."""
    for place, metric in metrics_of(suite, *BIRTHS):
        if metric.name not in {"bdSeq", REBIRTH}:
            assert metric.name, f"{place} has no name"
            assert metric.HasField("alias"), f"{place} has no alias"


def data_carry_the_alias_alone(suite: Suite) -> None:
    for place, metric in metrics_of(suite, *DATA):
        assert metric.HasField("alias"), f"{place} has no alias"
        assert not metric.HasField("name"), f"{place} has a name"


def aliases_are_unique(suite: Suite) -> None:
    """Over the node and its devices, and each means one metric for the whole run."""
    for transcript in suite:
        meaning: dict[int, tuple[str | None, str]] = {}
        for one in transcript.sent(*BIRTHS):
            for metric in one.metrics:
                if metric.HasField("alias"):
                    assert metric.alias, f"{transcript.name}: {one}: alias 0"
                    key = (one.device, metric.name)
                    assert meaning.setdefault(metric.alias, key) == key, f"{transcript.name}: {metric.alias} twice"
        assert len(set(meaning.values())) == len(meaning), f"{transcript.name}: a metric with two aliases"


def every_metric_has_a_time(suite: Suite) -> None:
    for place, metric in metrics_of(suite, *BIRTHS, *DATA):
        assert metric.HasField("timestamp"), place


def metric_times_are_utc(suite: Suite) -> None:
    for transcript, one in suite.sent(*BIRTHS, *DATA, "NDEATH"):
        for metric in one.metrics:
            age_ms = one.packet.at_ms - metric.timestamp
            assert -SKEW_MS <= age_ms < DAY_MS, (
                f"{transcript.name}: {one}: {metric.name or metric.alias} is {age_ms} ms old"
            )


def births_have_datatypes(suite: Suite) -> None:
    for place, metric in metrics_of(suite, *BIRTHS):
        assert metric.HasField("datatype"), place


def data_have_none(suite: Suite) -> None:
    for place, metric in metrics_of(suite, *DATA):
        assert not metric.HasField("datatype"), place


def datatypes_are_known(suite: Suite) -> None:
    for place, metric in metrics_of(suite, *BIRTHS, "NDEATH"):
        assert metric.datatype in FIELDS, f"{place}: {metric.datatype}"


def fields_have_their_wire_types(suite: Suite) -> None:
    """A datatype or property type that were no unsigned 32-bit integer would be a field the schema doesn't know."""
    for transcript, one in suite.sent():
        assert not unknown(one.payload), f"{transcript.name}: {one}: {unknown(one.payload)}"


_NBIRTH, _NDATA, _DDATA = message("NBIRTH"), message("NDATA"), message("DDATA")
_PRESS, _METER = message("DBIRTH", device="press"), message("DBIRTH", device="meter")
RULES: Final[tuple[Rule, ...]] = (
    rule(name_or_alias, "payloads-name-requirement", rewritten(_DDATA, first(clear("alias")))),
    rule(
        births_carry_name_and_alias, "payloads-alias-birth-requirement",
        rewritten(_PRESS, first(clear("alias"))), rewritten(_NBIRTH, first(clear("name"))),
    ),
    rule(
        data_carry_the_alias_alone, "payloads-alias-data-cmd-requirement",
        rewritten(_DDATA, first(put("name", "x"))), rewritten(_NDATA, first(clear("alias"))),
    ),
    rule(
        aliases_are_unique, "payloads-alias-uniqueness",
        rewritten(_METER, first(put("alias", 1))), rewritten(_NBIRTH, first(put("alias", 2))),
        rewritten(_PRESS, first(put("alias", 0))),
        rewritten(message("DBIRTH", "rebirth-5", -1), first(put("alias", 99))),
    ),
    rule(
        every_metric_has_a_time, "payloads-name-birth-data-requirement",
        rewritten(_DDATA, first(clear("timestamp"))), rewritten(_NBIRTH, first(clear("timestamp"))),
    ),
    rule(
        metric_times_are_utc, "payloads-metric-timestamp-in-UTC",
        rewritten(_DDATA, first(put("timestamp", 1_732_258_800))),
        rewritten(_NDATA, first(lambda metric: put("timestamp", metric.timestamp + 3_600_000)(metric))),
    ),
    rule(births_have_datatypes, "payloads-metric-datatype-req", rewritten(_PRESS, first(clear("datatype")))),
    rule(data_have_none, "payloads-metric-datatype-not-req", rewritten(_DDATA, first(put("datatype", 10)))),
    rule(
        datatypes_are_known, "payloads-metric-datatype-value",
        rewritten(_PRESS, first(put("datatype", 35))), rewritten(_NBIRTH, first(put("datatype", 0))),
    ),
    rule(
        fields_have_their_wire_types,
        "payloads-metric-datatype-value-type payloads-metric-propertyvalue-type-type",
        rewritten(_PRESS, lambda payload: payload.metrics[0].MergeFromString(b"\x22\x01\x0b")),
        rewritten(_METER, named("power", lambda metric: metric.properties.values[0].MergeFromString(b"\x0a\x01\x03"))),
    ),
)  # fmt: skip
