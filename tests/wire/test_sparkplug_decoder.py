"""What we encode, read by an implementation in another language (npm sparkplug-payload)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.readings import Quality, Readings, Tag, TagTable, text_hash
from gateway.runtime.latest import Latest
from gateway.upstream.sparkplug import birth
from gateway.upstream.sparkplug.catalog import Catalog
from gateway.upstream.sparkplug.data import bodies
from gateway.upstream.sparkplug.proto import wrap
from tests.fakes.npm import installed

SOURCE = Path(__file__).parents[1] / "fakes/sparkplug_host"
NOW_MS = 1_732_258_800_123
TABLE = TagTable(
    [
        Tag("d", "flag", "bool"),
        Tag("d", "small", "int8"),
        Tag("d", "short", "int16"),
        Tag("d", "int", "int32"),
        Tag("d", "long", "int64"),
        Tag("d", "counter", "uint32"),
        Tag("d", "huge", "uint64"),
        Tag("d", "single", "float32", unit="degC", low=-40.0, high=400.0),
        Tag("d", "zones.0", "int16", scale=0.1),
        Tag("d", "name", "string"),
        Tag("d", "word", "uint16"),
    ]
)
VALUES = [1.0, -7.0, -300.0, -70000.0, -(2.0**40), 4e9, 2.0**63 + 2048, 1.5, -0.1, float(text_hash("Größe")), 65535.0]
SHOWN: list[Any] = [
    True, -7, -300, -70000, str(-(2**40)), "4000000000", str(2**63 + 2048), 1.5, -0.1, "Größe", 65535,
]  # fmt: skip


@pytest.fixture(scope="module")
def decoder() -> Path:
    try:
        return installed(SOURCE)
    except RuntimeError as error:
        pytest.skip(f"NOT CHECKED by an independent decoder: {error}")


def decoded(decoder: Path, *payloads: bytes) -> list[dict[str, Any]]:
    text = "\n".join(payload.hex() for payload in payloads)
    done = subprocess.run(
        ["node", "decode.js"], cwd=decoder, input=text.encode(), capture_output=True, timeout=50, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def rows(quality: int = Quality.GOOD) -> Readings:
    count = len(TABLE)
    value = np.array(VALUES) if quality == Quality.GOOD else np.full(count, np.nan)
    return Readings(
        np.arange(count, dtype=np.uint32),
        np.full(count, NOW_MS * 1_000_000, np.int64),
        value,
        np.full(count, quality, np.uint8),
        {text_hash("Größe"): "Größe"},
    )


def as_numbers(metrics: list[dict[str, Any]]) -> list[Any]:
    """64-bit numbers come as text, some readers give them as numbers where they are small."""
    return [str(metric["value"]) if metric["type"] in {"Int64", "UInt64"} else metric["value"] for metric in metrics]


def test_payloads_metric_datatype_and_value_of_data(decoder: Path) -> None:
    catalog = Catalog(TABLE, None)
    metric = np.arange(len(TABLE))
    parts = list(bodies(rows(), metric, np.zeros(len(TABLE), np.int64), catalog, 60_000, datatypes=True))
    assert len(parts) == 1
    (message,) = decoded(decoder, wrap(parts[0][0], NOW_MS, 255))
    assert (str(message["timestamp"]), str(message["seq"])) == (str(NOW_MS), "255")
    assert as_numbers(message["metrics"]) == SHOWN
    assert [int(metric["alias"]) for metric in message["metrics"]] == list(range(1, len(TABLE) + 1))
    types = [metric["type"] for metric in message["metrics"]]
    assert types == [
        "Boolean", "Int8", "Int16", "Int32", "Int64", "Int64", "UInt64", "Float", "Double", "String", "UInt16",
    ]  # fmt: skip


@pytest.mark.parametrize(("quality", "shown"), [(Quality.BAD_TIMEOUT, 0), (Quality.BAD_STALE, 500)])
def test_payloads_propertyset_quality_value(decoder: Path, quality: Quality, shown: int) -> None:
    catalog = Catalog(TABLE, None)
    born = np.full(len(TABLE), NOW_MS, np.int64)
    ((metrics, _),) = bodies(rows(quality), np.arange(len(TABLE)), born, catalog, 60_000, datatypes=True)
    (message,) = decoded(decoder, wrap(metrics, NOW_MS, 0))
    for metric in message["metrics"]:
        assert metric["value"] is None
        assert metric["properties"]["Quality"] == {"type": "Int32", "value": shown}
        assert metric["isHistorical"] is True


def test_topics_dbirth_metric_reqs(decoder: Path) -> None:
    catalog, latest = Catalog(TABLE, None), Latest(TABLE)
    latest.update(rows())
    born = np.zeros(len(TABLE), np.int64)
    device = birth.device_birth(catalog, latest, "d", NOW_MS + 5, born, down=False)
    node = birth.node_birth(7, [birth.NodeValue("1.0", 1), *[birth.NodeValue(None, 2)] * 3], NOW_MS)
    dbirth, nbirth, ndeath = decoded(
        decoder, wrap(device, NOW_MS + 5, 1), wrap(node, NOW_MS, 0), birth.death(7, NOW_MS)
    )
    assert as_numbers(dbirth["metrics"]) == SHOWN
    assert dbirth["metrics"][8]["name"] == "zones/0"
    assert dbirth["metrics"][7]["properties"]["engUnit"] == {"type": "String", "value": "degC"}
    assert dbirth["metrics"][7]["properties"]["engLow"] == {"type": "Double", "value": -40}
    by_name = {metric["name"]: metric for metric in nbirth["metrics"]}
    assert by_name["Node Control/Rebirth"] | {"timestamp": 0} == {
        "name": "Node Control/Rebirth", "timestamp": 0, "type": "Boolean", "value": False,
    }  # fmt: skip
    assert str(by_name["bdSeq"]["value"]) == "7"
    assert "seq" not in ndeath or ndeath["seq"] is None
    assert [metric["name"] for metric in ndeath["metrics"]] == ["bdSeq"]
