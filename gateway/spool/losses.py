"""The ledger of what was lost: who lost it, why, which tags, from when to when, how many. Pure.

    drop -> Ledger.add() -> Ledger.take() -> `loss` events (wire.md), delivered like readings

Losses of one reason and one set of upstreams are told as one event, however many blocks they were. Only windows of
which nobody knows what was lost in them (power cuts) stay apart: what lies between two of them is not lost.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from gateway.block import Block
from gateway.spool.schema import Stored

Wants = Callable[[str, str], bool]  # upstream, full name of a tag
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


_Key = tuple[str, frozenset[str], int]  # reason, who lost it, where a window of its own begins (else 0)


class Ledger:
    """Losses that were counted and not yet told."""

    def __init__(self) -> None:
        self._losses: dict[_Key, _Loss] = {}

    def __bool__(self) -> bool:
        return bool(self._losses)

    def add(
        self, reason: str, upstreams: frozenset[str], tags: Mapping[str, int], from_ns: int, to_ns: int, **more: Any
    ) -> None:
        """Count a loss: readings by tag; `unknown=True` where their number isn't known, `events=n` for lost events."""
        window = 0 if tags or not more.get("unknown") else from_ns
        loss = self._losses.setdefault((reason, upstreams, window), _Loss(from_ns, to_ns))
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
                tags = dict.fromkeys(event["tags"], 0)
                if event["count"]:
                    tags[NO_TAG] = event["count"]
                times = event["from"] * 1_000_000, event["to"] * 1_000_000
                unknown, events = event["count"] is None, event.get("events", 0)
                self.add(event["reason"], upstreams, tags, *times, unknown=unknown, events=events)

    def forget(self, upstream: str) -> None:
        """Nothing is told to an upstream that left."""
        losses, self._losses = self._losses, {}
        for (reason, upstreams, _), loss in losses.items():
            if upstreams - {upstream}:
                times = loss.from_ns, loss.to_ns
                self.add(reason, upstreams - {upstream}, loss.tags, *times, unknown=loss.unknown, events=loss.events)

    def take(self, wants: Wants) -> Iterator[tuple[frozenset[str], dict[str, object]]]:
        """Every loss as the fields of a `loss` event, and who is told; the ledger is empty after.

        An upstream is told of the tags it wants, so that delivered and lost make up what it would have got.
        """
        losses, self._losses = self._losses, {}
        for (reason, upstreams, _), loss in losses.items():
            for tags, told in _shares(loss, upstreams, wants):
                events = loss.events
                for chunk in _chunks(tags):
                    fields: dict[str, object] = {
                        "reason": reason,
                        "tags": sorted(name for name in chunk if name != NO_TAG),
                        "from": loss.from_ns // 1_000_000,
                        "to": loss.to_ns // 1_000_000,
                        "count": None if loss.unknown else sum(chunk.values()),
                    }
                    if events:
                        fields["events"], events = events, 0
                    yield told, fields

    def to_json(self) -> bytes:
        """The ledger as it is kept on disk; empty where nothing is in it."""
        rows = [
            [reason, sorted(upstreams), loss.tags, loss.from_ns, loss.to_ns, loss.unknown, loss.events]
            for (reason, upstreams, _), loss in self._losses.items()
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


def _shares(loss: _Loss, upstreams: frozenset[str], wants: Wants) -> Iterator[tuple[dict[str, int], frozenset[str]]]:
    """What is told to whom: those who want the same tags share an event."""
    shares: dict[frozenset[str], set[str]] = {}
    for upstream in sorted(upstreams):
        tags = frozenset(tag for tag in loss.tags if tag == NO_TAG or wants(upstream, tag))
        shares.setdefault(tags, set()).add(upstream)
    named = loss.tags.keys() - {NO_TAG}
    for tags, told in shares.items():
        if tags & named or loss.tags[NO_TAG] or loss.events or not named:
            yield {tag: count for tag, count in loss.tags.items() if tag in tags}, frozenset(told)


def _chunks(tags: Mapping[str, int]) -> Iterator[dict[str, int]]:
    rows = sorted(tags.items())
    for start in range(0, max(1, len(rows)), TAGS_AN_EVENT):
        yield dict(rows[start : start + TAGS_AN_EVENT])
