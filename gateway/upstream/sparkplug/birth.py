"""Births and deaths: all metrics with names, datatypes and current values. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.readings import BAD, Quality, Tag
from gateway.runtime.latest import Latest
from gateway.upstream.sparkplug.catalog import NODE_ALIAS, Catalog
from gateway.upstream.sparkplug.datatypes import Datatype, put
from gateway.upstream.sparkplug.proto import Metric, Payload

MS: Final = 1_000_000
REBIRTH: Final = "Node Control/Rebirth"
STALE: Final = 500
LONGEST_TEXT: Final = 1 << 27  # half of what MQTT can carry
NODE_METRICS: Final = ("Gateway/Version", "Gateway/Backlog", "Gateway/Devices Online", "Gateway/Event")
_NODE_TYPES: Final = (Datatype.STRING, Datatype.INT64, Datatype.INT64, Datatype.STRING)


@dataclass(frozen=True, slots=True)
class NodeValue:
    """The current value of one of NODE_METRICS; None: null. Time in ms UTC."""

    value: float | str | None
    time_ms: int


def death(bdseq: int, time_ms: int) -> bytes:
    """NDEATH, for the will and for a wanted disconnect."""
    payload = Payload(timestamp=time_ms)
    _bdseq(payload.metrics, bdseq, time_ms)
    return bytes(payload.SerializeToString())


def node_birth(bdseq: int, values: Iterable[NodeValue], time_ms: int) -> bytes:
    """The metrics of NBIRTH, in time order."""
    payload = Payload()
    numbered = sorted(enumerate(values), key=lambda pair: pair[1].time_ms)
    for number, node in numbered:
        metric = payload.metrics.add(
            name=NODE_METRICS[number],
            alias=NODE_ALIAS + number,
            timestamp=min(node.time_ms, time_ms),
            datatype=_NODE_TYPES[number],
        )
        _value(metric, _NODE_TYPES[number], node.value)
    _bdseq(payload.metrics, bdseq, time_ms)
    payload.metrics.add(name=REBIRTH, timestamp=time_ms, datatype=Datatype.BOOLEAN, boolean_value=False)
    return bytes(payload.SerializeToString())


def node_data(number: int, node: NodeValue, *, historical: bool, datatypes: bool) -> bytes:
    """One node metric (by its place in NODE_METRICS) for NDATA."""
    payload = Payload()
    metric = payload.metrics.add(alias=NODE_ALIAS + number, timestamp=node.time_ms)
    if datatypes:
        metric.datatype = _NODE_TYPES[number]
    if historical:
        metric.is_historical = True
    _value(metric, _NODE_TYPES[number], node.value)
    return bytes(payload.SerializeToString())


def device_birth(
    catalog: Catalog,
    latest: Latest,
    device: str,
    time_ms: int,
    born_ms: NDArray[np.int64],
    *,
    down: bool,
    longest: int = LONGEST_TEXT,
) -> bytes:
    """The metrics of a DBIRTH, in time order; their times are noted in `born_ms` by metric index.

    A text of more than `longest` bytes is null.
    """
    payload = Payload()
    known = len(catalog.table)
    rows = [(_time(latest, index, time_ms) if index < known else time_ms, index) for index in catalog.devices[device]]
    for at, index in sorted(rows):
        born_ms[index] = at
        tag, kind = catalog.tags[index], catalog.datatypes[index]
        metric = payload.metrics.add(name=catalog.names(index), alias=catalog.alias(index), timestamp=at, datatype=kind)
        _properties(metric, tag)
        if down or index >= known:
            _null(metric, Quality.BAD_STALE if index >= known else Quality.BAD_LINK)
        else:
            _current(metric, latest, index, kind, longest)
    return bytes(payload.SerializeToString())


def readback(catalog: Catalog, index: int, value: Any, time_ms: int, *, datatypes: bool) -> bytes:
    """One metric for DDATA: what stands in the device after a command; None: not known."""
    metric = Metric(alias=catalog.alias(index), timestamp=time_ms)
    if datatypes:
        metric.datatype = catalog.datatypes[index]
    if value is None:
        _null(metric, Quality.BAD_STALE)
    else:
        put(metric, catalog.datatypes[index], value)
    payload = Payload()
    payload.metrics.append(metric)
    return bytes(payload.SerializeToString())


def current(latest: Latest, index: int, kind: Datatype, longest: int = LONGEST_TEXT) -> float | str | None:
    """The newest value of a tag; None where there is no good one, or a text of more than `longest` bytes."""
    value = float(latest.value[index])
    if latest.quality[index] & BAD:
        return None
    if kind is Datatype.STRING:
        text = latest.text(index)
        return None if text is None or len(text.encode(errors="replace")) > longest else text
    if not np.isfinite(value) and kind not in {Datatype.FLOAT, Datatype.DOUBLE}:
        return None
    return value


def _current(metric: Any, latest: Latest, index: int, kind: Datatype, longest: int) -> None:
    value = current(latest, index, kind, longest)
    if value is None:
        quality = int(latest.quality[index])
        _null(metric, quality if quality & BAD else Quality.BAD_DECODE)
    else:
        put(metric, kind, value)


def _time(latest: Latest, index: int, now_ms: int) -> int:
    time_ms = int(latest.time_ns[index]) // MS
    return min(time_ms, now_ms) if time_ms > 0 else now_ms


def _null(metric: Any, quality: int) -> None:
    metric.is_null = True
    metric.properties.keys.append("Quality")
    metric.properties.values.add(type=Datatype.INT32, int_value=STALE if quality == Quality.BAD_STALE else 0)


def _properties(metric: Any, tag: Tag) -> None:
    if tag.unit:
        metric.properties.keys.append("engUnit")
        metric.properties.values.add(type=Datatype.STRING, string_value=tag.unit)
    for name, limit in (("engLow", tag.low), ("engHigh", tag.high)):
        if limit is not None:
            metric.properties.keys.append(name)
            metric.properties.values.add(type=Datatype.DOUBLE, double_value=limit)


def _bdseq(metrics: Any, bdseq: int, time_ms: int) -> None:
    metrics.add(name="bdSeq", timestamp=time_ms, datatype=Datatype.INT64, long_value=bdseq)


def _value(metric: Any, kind: Datatype, value: float | str | None) -> None:
    if value is None:
        metric.is_null = True
    else:
        put(metric, kind, value)
