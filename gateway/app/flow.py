"""The way of a reading from a device's answer to the spool: plain calls, no queue, no wait.

poll -> clock mark -> derived tags -> steps --before lossy ones--> latest, alarms
                                        '--> kept readings --> spool
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from gateway.block import ClockStamp
from gateway.config import Configuration
from gateway.field.contract import Loss
from gateway.pipeline.alarms import Alarms
from gateway.pipeline.certificate import Certificates
from gateway.pipeline.derived import Derived
from gateway.pipeline.engine import Pipeline
from gateway.readings import BAD, Quality, Readings, TagTable
from gateway.runtime.clock import Clock, ClockChange
from gateway.runtime.counters import Counters
from gateway.runtime.latest import Latest
from gateway.spool.spool import Spool

LinkListener = Callable[[str, bool, str, int], None]  # device, online, reason, since (UTC ns)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the readings of one configuration go through."""

    table: TagTable
    derived: Derived
    alarms: Alarms
    pipeline: Pipeline
    certificates: Certificates


class Flow:
    """What the field talks to (FieldPort). Every call returns before the next poll can arrive."""

    def __init__(
        self,
        configuration: Configuration,
        spool: Spool,
        clock: Clock,
        counters: Counters,
        latest: Latest,
        on_link: LinkListener,
    ) -> None:
        table = configuration.table
        self.table = table
        self.polls = 0  # calls of `readings`; the watchdog looks at it
        self._spool = spool
        self._clock = clock
        self._counters = counters
        self._latest = latest
        self._on_link = on_link
        self.derived = Derived(table, configuration.derived)
        self.pipeline = Pipeline(table, configuration.steps, self._before, self._after)
        self.alarms = Alarms(table, configuration.alarms_for(table), spool.event)
        self.certificates = self._new_certificates(configuration, table)

    def prepared(self, configuration: Configuration, table: TagTable) -> Parts:
        """What a reload will put in place. Changes nothing yet and takes long for many tags: not for the loop."""
        return Parts(
            table,
            Derived(table, configuration.derived),
            Alarms(table, configuration.alarms_for(table), self._spool.event),
            Pipeline(table, configuration.steps_for(table), self._before, self._after),
            self._new_certificates(configuration, table),
        )

    def reconfigure(self, parts: Parts) -> None:
        """Take over a reload; tags that did not change keep the state of their steps and alarms."""
        parts.derived.adopt(self.derived)
        parts.alarms.adopt(self.alarms)
        self._keep(parts.pipeline.adopt(self.pipeline))
        self._spool.use_table(parts.table)
        self._latest.use_table(parts.table)
        parts.certificates.adopt(self.certificates)
        self.table, self.derived, self.alarms = parts.table, parts.derived, parts.alarms
        self.pipeline, self.certificates = parts.pipeline, parts.certificates

    def _new_certificates(self, configuration: Configuration, table: TagTable) -> Certificates:
        return Certificates(table, configuration.steps_for(table), self._spool.event, self._deviations)

    def _deviations(self) -> Mapping[int, float]:
        return self.pipeline.deviations()  # of the pipeline in force, which a reload replaces

    def achieved(self) -> list[dict[str, object]]:
        """What the lossy steps achieved in the running hour, a row per tag."""
        rows = self.certificates.achieved()
        return [
            {"tag": row.name, "ratio": row.ratio, "worst_error": row.worst_error, "bound": row.bound}
            for row in rows
            if row.received
        ]

    def readings(self, readings: Readings) -> None:
        """One poll's readings, from the device to the spool."""
        self.polls += 1
        self._counters.polled += len(readings)
        if not self._clock.stamp.synchronised:
            readings = _marked(readings)
        self._keep(self.pipeline.process(self.derived.process(readings)))

    def _before(self, readings: Readings) -> None:
        self._latest.update(readings)
        self.alarms.check(readings)
        self.certificates.before(readings)

    def _after(self, readings: Readings) -> None:
        self.certificates.after(readings)

    def _keep(self, kept: Readings, stamp: ClockStamp | None = None) -> None:
        if len(kept):
            self._counters.kept += len(kept)
            self._spool.append(kept, stamp)

    def tick(self, now_ns: int) -> None:
        """What is due by the clock alone; called each second."""
        self._keep(self.pipeline.tick(now_ns))
        self.alarms.tick(now_ns)
        self.certificates.tick(now_ns)

    def flush(self) -> None:
        """Send on everything the steps hold back: before a stop."""
        self._keep(self.pipeline.flush())

    def clock_changed(self, change: ClockChange) -> None:
        """The wall clock stepped or was synchronised: no line and no block may join readings of two clocks."""
        self._keep(self.pipeline.flush(), change.before)
        self._spool.clock_changed(change)
        fields: Mapping[str, object] = {
            "step": change.step_ns // 1_000_000,
            "synchronised": change.after.synchronised,
        }
        self._spool.event("clock_step", self._clock.now_ns(), fields)

    def loss(self, loss: Loss) -> None:
        """Readings that were due and can't be had any more."""
        names = [self.table[tag].full_name for tag in loss.tags.tolist()]
        self._spool.lost(loss.reason, names, loss.from_ns, loss.to_ns, loss.count)

    def link(self, device: str, online: bool, reason: str) -> None:  # the driver contract's own form
        """A device's link went up or down."""
        counters = self._counters.device(device)
        counters.up, counters.reason, counters.since_ns = online, reason, self._clock.now_ns()
        self._on_link(device, online, reason, counters.since_ns)


def _marked(readings: Readings) -> Readings:
    """The readings with `uncertain/clock` where they were better; a bad reading stays what it is."""
    quality = np.where(readings.quality < BAD, np.uint8(Quality.UNCERTAIN_CLOCK), readings.quality)
    return Readings(readings.tag, readings.time_ns, readings.value, quality, readings.texts)
