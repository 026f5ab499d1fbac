"""The `json` payload: one message per device and block, or one per reading where the topic names `{tag}`. Pure.

{"gateway":...,"device":...,"boot":...,"block":7,"part":0,"readings":[{"tag":...,"time":...,"value":...,"quality":...}]}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import zstandard

from gateway.block import Block
from gateway.codec import jsontext
from gateway.codec.jsontext import Bytes, Ends, RowTexts
from gateway.readings import Readings, TagTable
from gateway.upstream.identity import Identity
from gateway.upstream.layout import Layout, PerTable
from gateway.upstream.message import Message, overhead
from gateway.upstream.payload import Properties5, event_messages
from gateway.upstream.topics import fields_of, fill

UNIT_NS: Final[Mapping[str, int]] = {"ms": 1_000_000, "us": 1_000, "ns": 1}
_KINDS: Final = {"real": jsontext.REAL, "bool": jsontext.BOOL, "integer": jsontext.INTEGER, "text": jsontext.TEXT}
_ANY_PART: Final = 99_999  # as long as a part's number ever gets


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    layout: Layout
    texts: RowTexts
    topics: list[str]  # by device; by tag where each reading is a message


class JsonPayload:
    """See the module. `limit` holds for the packet before compression, so a compressed one is below it too."""

    def __init__(
        self,
        identity: Identity,
        template: str,
        *,
        properties: Properties5,
        select: list[str] | None = None,
        time_unit: str = "ms",
        compress: bool = False,
    ) -> None:
        self._gateway = json.dumps(identity.gateway)
        self._properties = properties
        self._select = select
        self._single = "tag" in fields_of(template)
        self._template = fill(template, {**identity.site, "gateway": identity.gateway})
        self._unit = UNIT_NS[time_unit]
        self._compress = zstandard.ZstdCompressor(level=3).compress if compress else None
        self._views = PerTable(self._look)

    def dictionary(self, block: Block) -> Message | None:  # noqa: ARG002  # JSON explains itself
        """None: every message explains itself."""
        return None

    def messages(self, block: Block, limit: int) -> list[Message]:
        """The block's messages: device by device, rows in arrival order; single readings in arrival order."""
        if block.events:
            return event_messages(block, self._properties, self._select)
        view = self._views(block.table)
        readings = view.layout.leaving(block.readings)
        if not len(readings):
            return []
        if self._single:
            return self._one_each(block, view, readings)
        readings = view.layout.sorted(readings)
        text, ends = view.texts.rows(readings, self._unit)
        found: list[Message] = []
        for device, start, stop in view.layout.runs(readings):
            found.extend(self._of_device(block, view, device, text, ends, start, stop, limit))
        return found

    def _of_device(
        self, block: Block, view: _View, device: int, text: Bytes, ends: Ends, start: int, stop: int, limit: int
    ) -> list[Message]:
        name, topic = view.layout.devices[device], view.topics[device]
        head = f'{{"gateway":{self._gateway},"device":{json.dumps(name)},{_identity(block)}'
        longest = self._properties.pack(block, name, _ANY_PART)
        room = limit - overhead(topic, longest) - len(head.encode()) - len(f',"part":{_ANY_PART},"readings":[]}}')
        found: list[Message] = []
        parts = list(_cut(ends, start, stop, room))
        for part, (first, last) in enumerate(parts):
            number = part if len(parts) > 1 else None
            middle = ',"readings":[' if number is None else f',"part":{number},"readings":['
            begin = int(ends[first - 1]) if first else 0
            payload = b"".join(((head + middle).encode(), text[begin : int(ends[last - 1]) - 1].tobytes(), b"]}"))
            packed = self._properties.pack(block, name, number)
            found.append(Message(topic, self._packed(payload), properties=packed, readings=last - first))
        return found

    def _one_each(self, block: Block, view: _View, readings: Readings) -> list[Message]:
        text, ends = view.texts.rows(readings, self._unit)
        whole, tail = text.tobytes(), f",{_identity(block)}}}".encode()
        devices = view.layout.device[readings.tag].tolist()
        packed = {device: self._properties.pack(block, view.layout.devices[device]) for device in set(devices)}
        starts = [0, *ends.tolist()]
        return [
            Message(
                view.topics[tag], self._packed(whole[start : stop - 2] + tail), properties=packed[device], readings=1
            )
            for tag, device, start, stop in zip(readings.tag.tolist(), devices, starts, starts[1:], strict=False)
        ]

    def _packed(self, payload: bytes) -> bytes:
        return payload if self._compress is None else self._compress(payload)

    def _look(self, table: TagTable) -> _View:
        layout = Layout.of(table, self._select)
        if self._single:
            heads = [
                f'{{"gateway":{self._gateway},"device":{json.dumps(tag.device)},"tag":{json.dumps(tag.name)},"time":'
                for tag in table
            ]
            topics = [fill(self._template, {"device": tag.device, "tag": tag.name}) for tag in table]
        else:
            heads = [f'{{"tag":{json.dumps(tag.name)},"time":' for tag in table]
            topics = [f"{fill(self._template, {'device': name})}/data" for name in layout.devices]
        texts = RowTexts.of([head.encode() for head in heads], [_KINDS[tag.kind] for tag in table])
        return _View(layout, texts, topics)


def _identity(block: Block) -> str:
    return f'"boot":{json.dumps(block.id.boot)},"block":{block.id.number}'


def _cut(ends: Ends, start: int, stop: int, room: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows whose text fits into `room` bytes; a row longer than that stands alone."""
    while start < stop:
        begin = int(ends[start - 1]) if start else 0
        last = int(np.searchsorted(ends[start:stop], begin + room + 1, side="right")) + start
        last = max(last, start + 1)
        yield start, last
        start = last
