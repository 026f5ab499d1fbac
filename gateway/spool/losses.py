"""The ledger of what was lost: who lost it, why, which tags, from when to when, how many. Pure.

    drop -> Ledger.add() -> Ledger.take() -> `loss` events (wire.md), delivered like readings

Losses of one reason and one set of upstreams are told as one event, however many blocks they were.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from gateway.block import Block
from gateway.spool.schema import Stored

TAGS_AN_EVENT: Final = 500  # an event must fit into a message
NO_TAG: Final = ""  # readings whose tag isn't known


@dataclass(slots=True)
class _Loss:
    from_ns: int
    to_ns: int
    tags: Counter[str] = field(default_factory=Counter)  # readings by full name
    unknown: bool = False  # nobody can tell how many
    events: int = 0


@dataclass(slots=True, eq=False)
class Unsettled:
    """A block that was dropped while on its way to upstreams: delivered or lost, as each of them will turn out."""

    reason: str
    block: Block
    counted: bool  # some upstream has lost it for sure


class Ledger:
    """Losses that were counted and not yet told."""

    def __init__(self) -> None:
        self._losses: dict[tuple[str, frozenset[str]], _Loss] = {}

    def __bool__(self) -> bool:
        return bool(self._losses)

    def add(
        self, reason: str, upstreams: frozenset[str], tags: Mapping[str, int], from_ns: int, to_ns: int, **more: Any
    ) -> None:
        """Count a loss: readings by tag; `unknown=True` where their number isn't known, `events=n` for lost events."""
        loss = self._losses.setdefault((reason, upstreams), _Loss(from_ns, to_ns))
        loss.from_ns, loss.to_ns = min(loss.from_ns, from_ns), max(loss.to_ns, to_ns)
        loss.tags.update(tags)
        loss.unknown |= bool(more.get("unknown"))
        loss.events += int(more.get("events", 0))

    def add_block(self, reason: str, block: Block, upstreams: frozenset[str]) -> int:
        """Count a dropped block; losses it told are told again. Returns its readings."""
        if block.events:
            self.add_told(block, upstreams)
            for event in map(json.loads, block.events):
                if event.get("event") != "loss":
                    self.add(reason, upstreams, {}, event["time"] * 1_000_000, event["time"] * 1_000_000, events=1)
            return 0
        readings = block.readings
        counts = np.bincount(readings.tag)
        tags = {block.table[int(tag)].full_name: int(counts[tag]) for tag in np.flatnonzero(counts)}
        self.add(reason, upstreams, tags, int(readings.time_ns.min()), int(readings.time_ns.max()))
        return len(readings)

    def add_damaged(self, stored: Stored, upstreams: frozenset[str]) -> None:
        """Count a block whose record is damaged: only its row of the database tells about it."""
        self.add("spool_corrupt", upstreams, {NO_TAG: stored.rows}, stored.first_ns, stored.first_ns)

    def add_told(self, block: Block, upstreams: frozenset[str]) -> None:
        """Count the losses that a block of events tells."""
        for event in map(json.loads, block.events):
            if event.get("event") == "loss":
                tags = dict.fromkeys(event["tags"], 0) | {NO_TAG: event["count"] or 0}
                times = event["from"] * 1_000_000, event["to"] * 1_000_000
                unknown, events = event["count"] is None, event.get("events", 0)
                self.add(event["reason"], upstreams, tags, *times, unknown=unknown, events=events)

    def take(self) -> Iterator[tuple[frozenset[str], dict[str, object]]]:
        """Every loss as the fields of a `loss` event, and who lost it; the ledger is empty after."""
        losses, self._losses = self._losses, {}
        for (reason, upstreams), loss in losses.items():
            for tags in _chunks(loss.tags):
                count = sum(tags.values())
                fields: dict[str, object] = {
                    "reason": reason,
                    "tags": sorted(name for name in tags if name != NO_TAG),
                    "from": loss.from_ns // 1_000_000,
                    "to": loss.to_ns // 1_000_000,
                    "count": None if loss.unknown else count,
                }
                if loss.events:
                    fields["events"], loss.events = loss.events, 0
                yield upstreams, fields

    def to_json(self) -> bytes:
        """The ledger as it is kept on disk; empty where nothing is in it."""
        rows = [
            [reason, sorted(upstreams), loss.tags, loss.from_ns, loss.to_ns, loss.unknown, loss.events]
            for (reason, upstreams), loss in self._losses.items()
        ]
        return json.dumps(rows).encode() if rows else b""

    def load(self, kept: bytes, upstreams: frozenset[str]) -> None:
        """Add what `to_json` kept, as far as it can be read; upstreams that are gone need not be told."""
        try:
            rows: Iterable[Any] = json.loads(kept) if kept else []
            for reason, names, tags, from_ns, to_ns, unknown, events in rows:
                told = upstreams & frozenset(names) or upstreams
                self.add(reason, told, tags, from_ns, to_ns, unknown=unknown, events=events)
        except (ValueError, TypeError):
            return


def _chunks(tags: Counter[str]) -> Iterator[dict[str, int]]:
    rows = sorted(tags.items())
    for start in range(0, max(1, len(rows)), TAGS_AN_EVENT):
        yield dict(rows[start : start + TAGS_AN_EVENT])
