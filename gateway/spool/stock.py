"""What the spool holds: the open segment, sealed blocks in memory, who still needs what, and what was lost. No I/O."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Final

from gateway.block import Block
from gateway.readings import TagTable
from gateway.runtime.clock import Clock
from gateway.runtime.counters import SpoolCounters
from gateway.spool.delivery import UpstreamDelivery
from gateway.spool.front import Entry, Front
from gateway.spool.losses import NO_TAG, Ledger, Unsettled
from gateway.spool.schema import Usage
from gateway.spool.segment import Segment
from gateway.spool.settings import SpoolSettings

FIRST_EVENT: Final = 1

Told = Callable[[Mapping[str, object]], None]


class Stock:
    """Shared by those who fill it (spool), empty it (deliveries) and write it down (writer, room)."""

    def __init__(
        self,
        settings: SpoolSettings,
        gateway: str,
        table: TagTable,
        clock: Clock,
        counters: SpoolCounters,
        boot: str,
        told: Told | None,
    ) -> None:
        self.settings = settings
        self.gateway = gateway
        self.clock = clock
        self.counters = counters
        self.segment = Segment(boot, table, settings.seal.max_readings)
        self.front = Front()
        self.ledger = Ledger()
        self.deliveries: dict[str, UpstreamDelivery] = {}
        self.doomed: set[int] = set()  # blocks that are being dropped from the disk at this moment
        self.chosen: dict[str, Callable[[str], bool]] = {}  # by upstream, where not every tag may leave there
        self.changed = asyncio.Event()  # something may have to be written
        self._next_event = FIRST_EVENT
        self._told = told

    @property
    def everybody(self) -> frozenset[str]:
        """All upstreams."""
        return frozenset(self.deliveries)

    def now(self) -> float:
        """Loop time in seconds."""
        return asyncio.get_running_loop().time()

    def seal(self) -> None:
        """Close the open block and offer it."""
        arrived = self.segment.since
        if arrived is not None:
            for block in self.segment.take(self.clock.now_ns(), self.clock.stamp):
                self.admit(block, self.everybody, arrived)

    def admit(self, block: Block, pending: frozenset[str], arrived: float, *, held: bool = False) -> None:
        """Take a sealed block that some upstreams need."""
        if not pending:
            return
        self.front.add(Entry(block.id.number, block, pending, arrived, held=held))
        for name in pending:
            delivery = self.deliveries[name]
            delivery.backlog += len(block.readings)
            delivery.wake()
        self.changed.set()

    def let_go(self) -> None:
        """Offer what was held back."""
        for entry in self.front:
            entry.held = False
        for delivery in self.deliveries.values():
            delivery.look_again()

    def release(self, entry: Entry, upstream: str) -> None:
        """An upstream needs a block of the front no more."""
        entry.pending -= {upstream}
        if not entry.pending and not entry.storing:
            self.front.remove(entry.seq)

    def offered(self) -> frozenset[int]:
        """Blocks on their way to some upstream."""
        return frozenset().union(*(delivery.offered for delivery in self.deliveries.values()))

    def still_needed(self, seq: int, pending: frozenset[str]) -> frozenset[str]:
        """Those of `pending` who exist and have not acknowledged the block meanwhile."""
        found = self.deliveries
        return frozenset(name for name in pending if name in found and seq not in found[name].acked)

    def count(self, usage: Usage) -> None:
        """Bring the counters up to date."""
        self.counters.memory_bytes = self.front.bytes
        self.counters.disk_bytes = usage.bytes
        self.counters.blocks = len(self.front) + usage.blocks

    # what was lost

    def lose(self, reason: str, seq: int, block: Block, pending: frozenset[str]) -> None:
        """Count a block, or the part of it that goes, as lost to some upstreams.

        Where it is on its way the acknowledgement, or the end of the epoch without one, settles whether it is lost.
        """
        on_its_way = frozenset(name for name in pending if seq in self.deliveries[name].offered)
        unsettled = Unsettled(reason, block, counted=pending != on_its_way)
        for name in on_its_way:
            self.deliveries[name].unsettled[seq] = unsettled
        if pending != on_its_way:
            rows = self.ledger.add_block(reason, block, pending - on_its_way)
            self.counters.lost[reason] += rows
            for name in pending - on_its_way:
                self.deliveries[name].dropped(seq, block.id, rows)
        self.changed.set()

    def settle_as_lost(self, upstream: str, seq: int, found: Unsettled) -> None:
        """A block that was dropped on its way to an upstream was not acknowledged in that epoch."""
        rows = self.ledger.add_block(found.reason, found.block, frozenset({upstream}))
        if not found.counted:
            self.counters.lost[found.reason] += rows
            found.counted = True
        self.deliveries[upstream].dropped(seq, found.block.id, rows)
        self.changed.set()

    def untold_losses(self, stored: Container[int] = ()) -> bytes:
        """The ledger for the disk: every loss of which no event stands there once the blocks `stored` do.

        What was dropped on its way is among them: a start that follows knows no acknowledgement of it.
        """
        unsettled = [(name, found) for name, d in self.deliveries.items() for found in d.unsettled.values()]
        telling = [entry for entry in self.front if entry.block.events and entry.seq not in stored]
        if not unsettled and not telling:
            return self.ledger.to_json()
        kept = Ledger()
        kept.load(self.ledger.to_json(), self.everybody)
        for name, found in unsettled:
            kept.add_block(found.reason, found.block, frozenset({name}))
        for entry in telling:
            kept.add_told(entry.block, entry.pending)
        return kept.to_json()

    def _wants(self, upstream: str, tag: str) -> bool:
        chosen = self.chosen.get(upstream)
        return chosen is None or chosen(tag)

    def saved_until_ns(self, stored: Container[int] = ()) -> int:
        """UTC of the oldest arrival that is neither acknowledged nor on disk once the blocks `stored` are; else now."""
        now, since = self.now(), self.segment.since
        waiting = [entry.arrived for entry in self.front if entry.seq not in stored]
        oldest = min(waiting, default=now) if since is None else min([*waiting, since])
        return self.clock.now_ns() - int((now - oldest) * 1e9)

    def lose_readings(self, reason: str, tags: Iterable[str], from_ns: int, to_ns: int, count: int | None) -> None:
        """Count readings that never came to be a block; None where nobody knows how many."""
        names = list(tags)
        each, rest = divmod(count or 0, len(names)) if names else (0, count or 0)
        named = {**dict.fromkeys(names, 0), NO_TAG: count or 0} if rest else dict.fromkeys(names, each)
        self.counters.lost[reason] += count or 0
        self.ledger.add(reason, self.everybody, named, from_ns, to_ns, unknown=count is None)
        self.changed.set()

    def tell_losses(self, *, held: bool = False) -> bool:
        """Turn the ledger into `loss` events, each for the upstreams that lost something; whether there were any.

        `held` back until `let_go`, an event isn't out before the ledger on disk has let go of the loss.
        """
        now_ns, some = self.clock.now_ns(), bool(self.ledger)
        for upstreams, fields in self.ledger.take(self._wants):
            event = self.render("loss", now_ns, fields)
            block = self.segment.event_block(event, now_ns, self.clock.stamp)
            self.admit(block, upstreams & self.everybody, self.now(), held=held)
        return some

    def render(self, kind: str, time_ns: int, fields: Mapping[str, object]) -> bytes:
        """An event as it goes over the wire."""
        head = {
            "gateway": self.gateway,
            "boot": self.segment.boot,
            "seq": self._next_event,
            "time": time_ns // 1_000_000,
        }
        self._next_event += 1
        body = {**head, "event": kind, **fields}
        if self._told is not None:
            self._told(body)
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
