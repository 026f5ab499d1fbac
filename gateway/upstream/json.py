"""The `json` payload: one message per device and block, or one per reading where the topic names `{tag}`. Pure.

The text is put together from columns: every tag has its bytes ready, numbers are formatted array-wise by orjson (the
shortest text that reads back as the same double), and one join makes the message. No dictionary per reading.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
import orjson
import zstandard
from numpy.typing import NDArray

from gateway.block import Block
from gateway.readings import BAD, UNCERTAIN, Mask, Quality, Readings, TagTable
from gateway.upstream.identity import Identity
from gateway.upstream.message import Message, overhead
from gateway.upstream.payload import Properties5, Selection, event_messages
from gateway.upstream.topics import fields_of, fill

UNIT_NS: Final[Mapping[str, int]] = {"ms": 1_000_000, "us": 1_000, "ns": 1}
_KEPT_TABLES: Final = 8
_REAL, _BOOL, _INTEGER, _TEXT = range(4)
_KINDS: Final = {"real": _REAL, "bool": _BOOL, "integer": _INTEGER, "text": _TEXT}
_INT64_EDGE: Final = float(1 << 63)


def _tail(code: int) -> bytes:
    word = "bad" if code & BAD else "uncertain" if code & UNCERTAIN else "good"
    reason = next((quality.reason for quality in Quality if quality & 0x3F == code & 0x3F and code & 0x3F), "")
    return f',"quality":"{word}"'.encode() + (f',"reason":"{reason}"'.encode() if reason else b"")


_TAILS: Final = [_tail(code) for code in range(256)]


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """What one table means for this payload, by tag index."""

    table: TagTable
    chosen: Mask | None
    device: NDArray[np.int32]
    kind: NDArray[np.uint8]
    heads: list[bytes]  # `{"tag":"...","time":` or, for one message per reading, all that stands before the time
    devices: list[str]
    topics: list[str]  # by device, or by tag


class JsonPayload:
    """See the module. `limit` holds for the packet before compression, so a compressed one is below it too."""

    def __init__(
        self,
        identity: Identity,
        template: str,
        *,
        selection: Selection,
        properties: Properties5,
        time_unit: str = "ms",
        compress: bool = False,
    ) -> None:
        self._identity = identity
        self._properties = properties
        self._selection = selection
        self._single = "tag" in fields_of(template)
        self._template = fill(template, {**identity.site, "gateway": identity.gateway})
        self._unit = UNIT_NS[time_unit]
        self._compress = zstandard.ZstdCompressor(level=3).compress if compress else None
        self._views: dict[int, _View] = {}

    def dictionary(self, block: Block) -> Message | None:  # noqa: ARG002  # JSON explains itself
        """None: every message explains itself."""
        return None

    def messages(self, block: Block, limit: int) -> list[Message]:
        """The block's messages: by device in order of first appearance in the table, rows in arrival order."""
        if block.events:
            return event_messages(block, self._properties)
        view = self._view(block.table)
        readings = block.readings
        if view.chosen is not None:
            readings = readings.where(view.chosen[readings.tag])
        if not len(readings):
            return []
        if self._single:
            return self._one_each(block, view, readings)
        found: list[Message] = []
        device = view.device[readings.tag]
        order = np.argsort(device, kind="stable")
        cuts = np.flatnonzero(np.diff(device[order])) + 1
        for rows in np.split(order, cuts):
            found.extend(self._of_device(block, view, int(device[rows[0]]), readings.where(rows), limit))
        return found

    def _of_device(self, block: Block, view: _View, device: int, readings: Readings, limit: int) -> list[Message]:
        name, topic = view.devices[device], view.topics[device]
        rows = _rows(view, readings, self._unit)
        head = (
            f'{{"gateway":{json.dumps(self._identity.gateway)},"device":{json.dumps(name)},'
            f'"boot":{json.dumps(block.id.boot)},"block":{block.id.number}'
        ).encode()
        room = limit - overhead(topic, self._properties.pack(block, name, 99_999)) - len(head) - 32
        found = []
        parts = _cut(rows, room)
        for part, (start, stop) in enumerate(parts):
            number = part if len(parts) > 1 else None
            middle = b',"readings":[' if number is None else f',"part":{number},"readings":['.encode()
            payload = b"".join((head, middle, b",".join(rows[start:stop]), b"]}"))
            packed = self._properties.pack(block, name, number)
            found.append(Message(topic, self._packed(payload), properties=packed, readings=stop - start))
        return found

    def _one_each(self, block: Block, view: _View, readings: Readings) -> list[Message]:
        tail = f',"boot":{json.dumps(block.id.boot)},"block":{block.id.number}}}'.encode()
        tags = readings.tag.tolist()
        rows = _rows(view, readings, self._unit)
        packed = {index: self._properties.pack(block, view.devices[index]) for index in set(view.device[tags].tolist())}
        return [
            Message(view.topics[tag], self._packed(row[:-1] + tail), properties=packed[device], readings=1)
            for tag, device, row in zip(tags, view.device[tags].tolist(), rows, strict=True)
        ]

    def _packed(self, payload: bytes) -> bytes:
        return payload if self._compress is None else self._compress(payload)

    def _view(self, table: TagTable) -> _View:
        view = self._views.get(id(table))
        if view is None:
            view = self._views[id(table)] = self._look(table)
            if len(self._views) > _KEPT_TABLES:
                del self._views[next(iter(self._views))]
        return view

    def _look(self, table: TagTable) -> _View:
        devices: dict[str, int] = {}
        column = np.fromiter((devices.setdefault(tag.device, len(devices)) for tag in table), np.int32, len(table))
        kinds = np.fromiter((_KINDS[tag.kind] for tag in table), np.uint8, len(table))
        gateway = json.dumps(self._identity.gateway)
        if self._single:
            heads = [f'{{"gateway":{gateway},"device":"{tag.device}","tag":"{tag.name}","time":' for tag in table]
            topics = [fill(self._template, {"device": tag.device, "tag": tag.name}) for tag in table]
        else:
            heads = [f'{{"tag":"{tag.name}","time":' for tag in table]
            topics = [fill(self._template, {"device": name}) + "/data" for name in devices]
        chosen = self._selection.mask(table)
        return _View(table, chosen, column, kinds, [head.encode() for head in heads], list(devices), topics)


def _rows(view: _View, readings: Readings, unit_ns: int) -> list[bytes]:
    """The JSON text of each reading."""
    tags = readings.tag.tolist()
    times = orjson.dumps(readings.time_ns // unit_ns, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
    values = _values(view, readings)
    tails = _TAILS
    return [
        b'%b%b,"value":%b%b}' % (heads, time, value, tails[quality])
        for heads, time, value, quality in zip(
            (view.heads[tag] for tag in tags), times, values, readings.quality.tolist(), strict=True
        )
    ]


def _values(view: _View, readings: Readings) -> list[bytes]:
    quality = readings.quality
    shown = np.where((quality & BAD == 0) | (quality == Quality.BAD_RANGE), readings.value, np.nan)
    texts = orjson.dumps(shown, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
    kinds = view.kind[readings.tag]
    for row in np.flatnonzero(kinds != _REAL).tolist():
        value = shown[row]
        if np.isfinite(value):
            texts[row] = _exact(int(kinds[row]), float(value), readings)
    return texts


def _exact(kind: int, value: float, readings: Readings) -> bytes:
    if kind == _BOOL:
        return b"true" if value else b"false"
    if kind == _INTEGER:
        return b"%d" % int(value)
    text = readings.texts.get(int(value))
    return b"null" if text is None else orjson.dumps(text)


def _cut(rows: list[bytes], room: int) -> list[tuple[int, int]]:
    """Ranges of rows whose joined text fits into `room` bytes; a row larger than that stands alone."""
    ends = np.cumsum(np.fromiter(map(len, chain(rows)), np.int64, len(rows)) + 1)
    ranges, start, used = [], 0, 0
    while start < len(rows):
        stop = max(start + 1, int(np.searchsorted(ends, used + room, side="right")))
        ranges.append((start, stop))
        start, used = stop, int(ends[stop - 1])
    return ranges
