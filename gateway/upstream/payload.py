"""What a payload format is: blocks in, messages out. Pure, so that every format is tested without a broker."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.block import Block
from gateway.upstream.identity import Identity
from gateway.upstream.message import Message, pack_properties
from gateway.upstream.select import selected


class Payload(Protocol):
    """One format. The same block and limit always give the same messages, so a repeat can be told by its index."""

    def messages(self, block: Block, limit: int) -> list[Message]:
        """The block's messages (none: nothing to send); above `limit` bytes only where one reading alone is."""

    def dictionary(self, block: Block) -> Message | None:
        """The retained message a receiver needs before the block's, where there is one."""


@dataclass(frozen=True, slots=True)
class Properties5:
    """The MQTT 5 properties of a block's messages: identity as user properties, expiry and content type where set."""

    identity: Identity
    enabled: bool
    expiry_s: int | None = None
    content_type: str = ""

    def pack(self, block: Block, device: str = "", part: int | None = None) -> bytes:
        """Packed properties; without MQTT 5 a single zero."""
        if not self.enabled:
            return pack_properties()
        user = [("gateway", self.identity.gateway), ("boot", block.id.boot), ("block", str(block.id.number))]
        if device:
            user.append(("device", device))
        if part is not None:
            user.append(("part", str(part)))
        return pack_properties(user, expiry_s=self.expiry_s, content_type=self.content_type)


def event_messages(block: Block, properties: Properties5, select: Sequence[str] | None = None) -> list[Message]:
    """A block of events: `{gateway}/events`, one message each, without those about a tag that may not leave."""
    topic, packed = f"{properties.identity.gateway}/events", properties.pack(block)
    return [
        Message(topic, event, properties=packed) for event in block.events if select is None or _leaves(event, select)
    ]


def _leaves(event: bytes, select: Sequence[str]) -> bool:
    tag = json.loads(event).get("tag")  # alarms and writes tell a value, too
    return tag is None or selected(select, tag)
