"""Templates and data sets: we send none, so all their rules come down to that (chapter 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.fakes.sparkplug.faults import rewritten, will_rewritten
from tests.fakes.sparkplug.rules import Rule, message, packet, rule
from tests.fakes.sparkplug.schema import decode
from tests.fakes.sparkplug.transcript import Suite

DATASET: Final = 16
TEMPLATE: Final = 19


def _none(field: str, datatype: int) -> Callable[[Suite], None]:
    def check(suite: Suite) -> None:
        payloads = [(str(one), one.payload) for _, one in suite.sent()]
        for transcript in suite:
            wills = [connect.will for connect in transcript.connects]
            payloads += [("a will", decode(will.payload)) for will in wills if will is not None]
        for place, payload in payloads:
            for metric in payload.metrics:
                assert not metric.HasField(field), f"{place}: {field}"
                assert metric.datatype != datatype, f"{place}: datatype {datatype}"

    return check


def _with(field: str) -> Callable[[Any], None]:
    return lambda payload: getattr(payload.metrics[0], field).SetInParent()


def _typed(datatype: int) -> Callable[[Any], None]:
    return lambda payload: setattr(payload.metrics[0], "datatype", datatype)


def _rule(field: str, datatype: int, ids: str) -> Rule:
    return rule(
        _none(field, datatype), ids,
        rewritten(message("NBIRTH"), _with(field)), rewritten(message("DDATA", "device", -1), _with(field)),
        rewritten(message("DBIRTH"), _typed(datatype)), will_rewritten(packet("CONNECT"), _with(field)),
    )  # fmt: skip


RULES: Final[tuple[Rule, ...]] = (
    _rule(
        "template_value", TEMPLATE,
        """
        topics-nbirth-templates payloads-template-dataset-value payloads-template-definition-is-definition
        payloads-template-definition-members payloads-template-definition-nbirth
        payloads-template-definition-nbirth-only payloads-template-definition-parameters
        payloads-template-definition-parameters-default payloads-template-definition-ref
        payloads-template-instance-is-definition payloads-template-instance-members
        payloads-template-instance-members-birth payloads-template-instance-members-data
        payloads-template-instance-parameters payloads-template-instance-ref payloads-template-is-definition
        payloads-template-is-definition-definition payloads-template-is-definition-instance
        payloads-template-parameter-name-required payloads-template-parameter-name-type
        payloads-template-parameter-type-req payloads-template-parameter-type-value payloads-template-parameter-value
        payloads-template-parameter-value-type payloads-template-ref-definition payloads-template-ref-instance
        payloads-template-version
        """,
    ),
    _rule(
        "dataset_value", DATASET,
        """
        payloads-dataset-column-num-headers payloads-dataset-column-size payloads-dataset-parameter-type-req
        payloads-dataset-types-def payloads-dataset-types-num payloads-dataset-types-type payloads-dataset-types-value
        """,
    ),
)  # fmt: skip
