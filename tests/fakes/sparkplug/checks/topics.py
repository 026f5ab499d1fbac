"""Rules about topics, ids and names (chapters 1, 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.fakes.sparkplug.faults import repeated, retopiced, rewritten
from tests.fakes.sparkplug.rules import Rule, message, rule
from tests.fakes.sparkplug.stage import GROUP
from tests.fakes.sparkplug.transcript import TYPES, Said, Suite


def namespace(suite: Suite) -> None:
    """Nothing leaves but Sparkplug messages and the barrier."""
    for transcript in suite:
        for packet in transcript.of_kind("PUBLISH"):
            tokens = packet.topic.split("/")
            if packet.topic == f"{transcript.facts.get('node', 'cell')}/barrier":
                continue
            assert tokens[0] == "spBv1.0", packet.topic
            assert tokens[2] in TYPES, packet.topic
            assert all(tokens), packet.topic


def device_types_name_a_device(suite: Suite) -> None:
    for _, one in suite.sent("DBIRTH", "DDATA", "DDEATH"):
        assert one.device, f"{one} has no device"


def node_types_name_none(suite: Suite) -> None:
    for _, one in suite.sent("NBIRTH", "NDATA", "NDEATH"):
        assert one.device is None, f"{one} has a device"


def _topic(kind: str) -> Callable[[Suite], None]:
    def check(suite: Suite) -> None:
        for transcript, one in suite.sent(kind):
            node = transcript.facts.get("node", "cell")
            expected = f"spBv1.0/{GROUP}/{kind}/{node}" + (f"/{one.device}" if kind[0] == "D" else "")
            assert one.packet.topic == expected, f"{one.packet.topic}, expected {expected}"

    return check


def dbirth_matches_nbirth(suite: Suite) -> None:
    for transcript in suite:
        for reign in transcript.births():
            nbirth = reign[0]
            for one in reign[1:]:
                assert (one.group, one.node) == (nbirth.group, nbirth.node), f"{one} is of another node than {nbirth}"


def _token(name: str, token: Callable[[Said], str | None]) -> Callable[[Suite], None]:
    def check(suite: Suite) -> None:
        tokens = {token(one) for _, one in suite.sent("NBIRTH", "DBIRTH", "DDATA", "NDATA", "NDEATH", "DDEATH")}
        for found in tokens - {None}:
            assert found, f"an empty {name}"
            assert not set(found) & set("+/#\0"), f"{name} {found!r}"
            assert found.encode().decode() == found, f"{name} {found!r} is no UTF-8"

    return check


def one_node_per_descriptor(suite: Suite) -> None:
    """Nodes beside each other on a broker differ, and none speaks for another or over two connections."""
    owners: dict[tuple[str, str], str] = {}
    for transcript in (suite["neighbour-1"], suite["neighbour-2"]):
        (connect,) = transcript.connects
        for one in transcript.sent():
            owner = owners.setdefault((one.group, one.node), connect.client_id)
            assert owner == connect.client_id, f"{one.group}/{one.node} is used by {owner} and {connect.client_id}"
    assert len(owners) == 2, owners


def device_is_born_once(suite: Suite) -> None:
    """A DBIRTH comes behind an NBIRTH or that device's DDEATH only."""
    for transcript in suite:
        alive: set[str | None] = set()
        for one in transcript.sent():
            if one.type == "NBIRTH":
                alive.clear()
            elif one.type == "DBIRTH":
                assert one.device not in alive, f"{transcript.name}: {one}: born twice"
                alive.add(one.device)
            elif one.type == "DDEATH":
                assert one.device in alive, f"{transcript.name}: {one}: dead already"
                alive.discard(one.device)


def devices_may_have_equal_names_on_other_nodes(suite: Suite) -> None:
    both = [{one.device for one in suite[name].sent("DBIRTH")} for name in ("neighbour-1", "neighbour-2")]
    assert both[0] == both[1] == {"press", "meter"}, both


def _no_case_twins(found: set[str], what: str) -> None:
    lower = [name.lower() for name in found]
    assert len(set(lower)) == len(lower), f"{what} that differ in case only: {sorted(found)}"


def ids_differ_by_more_than_case(suite: Suite) -> None:
    sent = [one for _, one in suite.sent()]
    for token in ({one.group for one in sent}, {one.node for one in sent}, {one.device or "" for one in sent}):
        _no_case_twins(token, "ids")


def metric_names_differ_by_more_than_case(suite: Suite) -> None:
    for _, one in suite.sent("NBIRTH", "DBIRTH"):
        names = [metric.name for metric in one.metrics]
        assert len(set(names)) == len(names), f"{one}: a name twice"
        _no_case_twins(set(names), f"{one}: metrics")


_DDATA = message("DDATA", "device")
RULES: Final[tuple[Rule, ...]] = (
    rule(
        namespace, "topic-structure topic-structure-namespace-a",
        retopiced(_DDATA, "spBv1.0", "spAv1.0"), retopiced(_DDATA, "/DDATA/", "/DATA/"),
    ),
    rule(
        device_types_name_a_device, "topic-structure-namespace-device-id-associated-message-types",
        retopiced(message("DDATA", device="press"), "/press", ""),
    ),
    rule(
        node_types_name_none, "topic-structure-namespace-device-id-non-associated-message-types",
        retopiced(message("NBIRTH"), "/cell", "/cell/press"),
    ),
    *(
        rule(_topic(kind), ids, retopiced(message(kind, "device"), "/g/", "/h/"))
        for kind, ids in {
            "NBIRTH": "topics-nbirth-topic message-flow-edge-node-birth-publish-nbirth-topic",
            "NDATA": "topics-ndata-topic",
            "NDEATH": "topics-ndeath-topic",
            "DBIRTH": "topics-dbirth-topic message-flow-device-birth-publish-dbirth-topic",
            "DDATA": "topics-ddata-topic",
            "DDEATH": "topics-ddeath-topic",
        }.items()
    ),
    rule(
        dbirth_matches_nbirth, "message-flow-device-birth-publish-dbirth-match-edge-node-topic",
        retopiced(message("DBIRTH"), "/g/", "/h/"), retopiced(message("DBIRTH"), "/cell/", "/cell2/"),
    ),
    rule(
        _token("group id", lambda one: one.group),
        "intro-group-id-string intro-group-id-chars topic-structure-namespace-valid-group-id",
        retopiced(_DDATA, "/g/", "/g#/"), retopiced(_DDATA, "/g/", "//"),
    ),
    rule(
        _token("edge node id", lambda one: one.node),
        "intro-edge-node-id-string intro-edge-node-id-chars topic-structure-namespace-valid-edge-node-id",
        retopiced(_DDATA, "/cell/", "/c+ll/"), retopiced(_DDATA, "/cell/", "//"),
    ),
    rule(
        _token("device id", lambda one: one.device),
        "intro-device-id-string intro-device-id-chars topic-structure-namespace-valid-device-id",
        retopiced(message("DDATA", device="press"), "/press", "/pr#ss"),
        retopiced(message("DDATA", device="press"), "/press", "/"),
    ),
    rule(
        one_node_per_descriptor,
        "intro-edge-node-id-uniqueness payloads-nbirth-edge-node-descriptor"
        " topic-structure-namespace-unique-edge-node-descriptor",
        retopiced(message("NBIRTH", "neighbour-2"), "cell-2", "cell"),
    ),
    rule(
        device_is_born_once, "topic-structure-namespace-unique-device-id",
        repeated(message("DBIRTH")), repeated(message("DDEATH", "device")),
    ),
    rule(
        devices_may_have_equal_names_on_other_nodes,
        "topic-structure-namespace-duplicate-device-id-across-edge-node",
        retopiced(message("DBIRTH", "neighbour-2", device="meter"), "/meter", "/meter-2"),
    ),
    rule(
        ids_differ_by_more_than_case, "case-sensitivity-sparkplug-ids",
        retopiced(message("DDATA", device="press"), "/press", "/Press"), retopiced(_DDATA, "/cell/", "/Cell/"),
    ),
    rule(
        metric_names_differ_by_more_than_case, "case-sensitivity-metric-names",
        rewritten(message("DBIRTH", device="press"), lambda payload: payload.metrics.add(name="Setpoint")),
    ),
)  # fmt: skip
