"""The `columns` payload: one message per device and block, losslessly compressed columns. Pure.

A message is what gateway/codec/message.py says byte by byte: a header with the hash of the tag dictionary, boot, block,
part and the names of gateway and device, then the readings. It decodes by itself, given the dictionary, which stands
retained under `{gateway}/dictionary/<hash>` as the JSON of `TagTable.to_json`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from gateway.block import Block
from gateway.codec.message import Header, pack
from gateway.readings import NO_TEXTS, Mask, Readings, TagTable
from gateway.upstream.identity import Identity
from gateway.upstream.layout import Layout, PerTable
from gateway.upstream.message import Message, overhead
from gateway.upstream.payload import Properties5, event_messages
from gateway.upstream.topics import fill

_PART_BYTES = 3  # a part's number in the header, beyond the one already there


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    layout: Layout
    topics: list[str]
    is_text: Mask


class ColumnsPayload:
    """See the module."""

    def __init__(
        self, identity: Identity, template: str, *, properties: Properties5, select: list[str] | None = None
    ) -> None:
        self._gateway = identity.gateway
        self._properties = properties
        self._select = select
        self._template = fill(template, {**identity.site, "gateway": identity.gateway})
        self._views = PerTable(self._look)

    def dictionary(self, block: Block) -> Message | None:
        """The table's dictionary, retained; None for events."""
        if block.events:
            return None
        return Message(f"{self._gateway}/dictionary/{block.table.digest}", block.table.to_json(), retain=True)

    def messages(self, block: Block, limit: int) -> list[Message]:
        """The block's messages, device by device."""
        if block.events:
            return event_messages(block, self._properties, self._select)
        view = self._views(block.table)
        readings = view.layout.sorted(view.layout.leaving(block.readings))
        found: list[Message] = []
        for device, start, stop in view.layout.runs(readings):
            of_device = readings.where(slice(start, stop))
            of_device = replace(of_device, texts=_texts_of(of_device, view.is_text))
            found.extend(self._of_device(block, view, device, of_device, limit))
        return found

    def _of_device(self, block: Block, view: _View, device: int, readings: Readings, limit: int) -> Iterator[Message]:
        name, topic = view.layout.devices[device], view.topics[device]
        room = limit - overhead(topic, self._properties.pack(block, name, 99_999))
        header = Header(block.table.digest, block.id.boot, block.id.number, self._gateway, name)
        payload = pack(header, readings)
        if len(payload) <= room or len(readings) == 1:
            packed = self._properties.pack(block, name)
            yield Message(topic, payload, properties=packed, readings=len(readings))
            return
        pieces = _halve(header, readings, view.is_text, room - _PART_BYTES)
        for part, piece in enumerate(pieces):
            packed = self._properties.pack(block, name, part)
            payload = pack(replace(header, part=part), piece)
            yield Message(topic, payload, properties=packed, readings=len(piece))

    def _look(self, table: TagTable) -> _View:
        layout = Layout.of(table, self._select)
        topics = [f"{fill(self._template, {'device': name})}/columns" for name in layout.devices]
        return _View(layout, topics, np.fromiter((tag.kind == "text" for tag in table), np.bool_, len(table)))


def _halve(header: Header, readings: Readings, is_text: Mask, room: int) -> list[Readings]:
    """The readings in pieces that fit into `room` bytes each, a single reading at the least."""
    if len(readings) == 1 or len(pack(replace(header, part=0), readings)) <= room:
        return [readings]
    middle = len(readings) // 2
    found: list[Readings] = []
    for half in (slice(0, middle), slice(middle, None)):
        part = readings.where(half)
        found += _halve(header, replace(part, texts=_texts_of(part, is_text)), is_text, room)
    return found


def _texts_of(readings: Readings, is_text: Mask) -> dict[int, str]:
    """The texts these rows need: others may not leave with them."""
    if readings.texts is NO_TEXTS or not readings.texts:
        return {}
    values = readings.value[is_text[readings.tag] & np.isfinite(readings.value)]
    wanted = map(int, np.unique(values).tolist())
    return {key: readings.texts[key] for key in wanted if key in readings.texts}
