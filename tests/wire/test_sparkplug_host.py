"""A host application in another language (tests/fakes/sparkplug_host, npm) follows the node and commands it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.npm import installed
from tests.fakes.sparkplug.faults import (
    changed,
    clear,
    dropped,
    first,
    moved,
    put,
    repeated,
    rewritten,
)
from tests.fakes.sparkplug.node_host import NodeHost, violations
from tests.fakes.sparkplug.rules import Spoil, message
from tests.fakes.sparkplug.scenarios import FIRST
from tests.fakes.sparkplug.stage import HOST, stage
from tests.fakes.sparkplug.transcript import Suite
from tests.fakes.waiting import until

SOURCE = Path(__file__).parents[1] / "fakes/sparkplug_host"


@pytest.fixture(scope="module")
def packages() -> Path:
    try:
        return installed(SOURCE)
    except RuntimeError as error:
        pytest.skip(f"NOT CHECKED by a host in another language: {error}")


@pytest.mark.parametrize(
    ("protocol", "sparkplug"), [("5", {}), ("3.1.1", {"datatype_in_data": True}), ("5", {"durable": True})]
)
async def test_a_foreign_primary_host_follows_and_commands_the_node(
    packages: Path, tmp_path: Path, protocol: str, sparkplug: dict[str, Any]
) -> None:
    async with (
        stage(tmp_path / "stage", protocol=protocol, sparkplug={"primary_host": HOST, **sparkplug}) as on,
        NodeHost(packages, on.broker.port) as host,
        on.gateway(),
    ):
        await until(lambda: f"spBv1.0/STATE/{HOST} (QoS 1)" in on.broker.log)
        assert host.count("NBIRTH") == 0
        host.order(online=1000)
        await host.until(lambda: host.count("DBIRTH", "press") == host.count("DBIRTH", "meter") == 1)
        await on.offer(FIRST)
        await on.offer({"press.setpoint": -7.0, "press.speed": 0.5, "meter.z.0": -1.5})
        await on.drained()
        host.order(write={"device": "press", "name": "running", "type": "Boolean", "value": True})
        host.order(write={"device": "press", "name": "batch_id", "type": "String", "value": "Größe"})
        await until(lambda: on.plc.written == [("press.running", True), ("press.batch_id", "Größe")])
        await host.until(lambda: host.count("DDATA", "press") == 4)
        values = await host.values()
        assert isinstance(values[""].pop("Gateway/Backlog"), int)  # told once a minute
        assert values == {
            "": {"Gateway/Version": "1.0", "Gateway/Devices Online": 2, "Gateway/Event": None},
            "press": {
                "setpoint": -7, "speed": 0.5, "running": True, "batch_id": "Größe", "temperature": 21.5,
            },
            "meter": {"power": 12.5, "energy": 4_000_000_000, "z/0": -1.5},
        }  # fmt: skip
        host.order(rebirth=True)
        await host.until(lambda: host.count("DBIRTH", "meter") == 2)
        host.order(offline=2000)
        await host.until(lambda: host.count("NDEATH") >= 1)
        await on.offer({"meter.power": 13.0})
        host.order(online=3000)
        await host.until(lambda: host.count("DBIRTH", "meter") == 3)
        await on.drained()
        await host.until(lambda: host.count("DDATA", "meter") == 3)
        assert (await host.values())["meter"]["power"] == 13.0
        numbers = [one["bdSeq"] for one in host.seen if one.get("type") == "NBIRTH"]
        assert numbers == [0, 0, 1]
        found = host.told("violation")
        if sparkplug.get("durable"):  # which gives conformance up for it
            assert found
            assert all("DATA" in one and one.endswith(": QoS 1") for one in found)
        else:
            assert found == []


def test_the_foreign_host_has_nothing_against_any_scenario(packages: Path, sparkplug_suite: Suite) -> None:
    for transcript in sparkplug_suite:
        assert violations(packages, transcript.packets) == [], transcript.name


BDSEQ = first(lambda metric: put("long_value", metric.long_value + 1)(metric))
FAULTS: dict[str, Spoil] = {
    "seq": dropped(message("DDATA")),
    "no seq": rewritten(message("DDATA"), clear("seq")),
    "before NBIRTH": moved(message("DDATA"), message("NBIRTH")),
    "not born": dropped(message("DBIRTH", device="meter")),
    "dead": dropped(message("DBIRTH", "device", 2)),
    "born twice": repeated(message("DBIRTH")),
    "was not alive": repeated(message("DDEATH", "device")),
    "is unknown": rewritten(message("DDATA"), first(put("alias", 77))),
    "is taken": rewritten(message("DBIRTH", device="meter"), first(put("alias", 1))),
    "bdSeq 1, born with 0": rewritten(message("NDEATH"), BDSEQ),
    "0 bdSeq": rewritten(message("NDEATH"), clear("metrics")),
    "retained": changed(message("DDATA"), retain=True),
    "QoS 1": changed(message("DBIRTH"), qos=1),
    "no time": rewritten(message("DDATA"), clear("timestamp")),
    "type undefined": rewritten(message("DBIRTH"), first(clear("datatype"))),
    "a metric without a name": rewritten(message("DBIRTH"), first(clear("name"))),
    "history mixed": rewritten(message("DDATA"), first(put("is_historical", False))),
    "is no Double": rewritten(message("DDATA", nth=-1), first(clear("double_value"))),
    "empty": rewritten(message("DDATA"), clear("metrics")),
}


@pytest.mark.parametrize("words", FAULTS)
def test_the_foreign_host_objects(packages: Path, sparkplug_suite: Suite, words: str) -> None:
    spoiled = FAULTS[words](sparkplug_suite)
    (packets,) = [one.packets for one in spoiled if one is not sparkplug_suite[one.name]]
    found = violations(packages, packets)
    assert any(words in one for one in found), found
