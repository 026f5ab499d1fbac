"""The daemon's counters and newest readings as plain data, for the status server and the control socket."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateway.readings import Quality, TagColumn, TagTable
from gateway.runtime.clock import Clock
from gateway.runtime.counters import Counters, UpstreamCounters
from gateway.runtime.lag import LoopLag
from gateway.runtime.latest import Latest
from gateway.runtime.status.source import Json, Selection, TagPage
from gateway.runtime.status.trends import Trends

EVENTS: Final = 200
_NO_TAGS: Final[TagColumn] = np.empty(0, np.uint32)
_PAGE_BYTES: Final = resource.getpagesize()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this daemon is."""

    name: str
    version: str
    boot: str


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What the configuration says about a device."""

    connection: str
    driver: str
    every_s: float | None = None


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """What the configuration says about an upstream; `broker` without any credential."""

    broker: str
    format: str
    window: int


@dataclass(frozen=True, slots=True)
class Plant:
    """What the configuration in force describes."""

    table: TagTable
    devices: Mapping[str, DeviceFacts] = field(default_factory=dict)
    upstreams: Mapping[str, UpstreamFacts] = field(default_factory=dict)


class View:
    """The daemon as it is now; the application tells it about events, readiness and a new configuration."""

    def __init__(
        self,
        identity: Identity,
        plant: Plant,
        counters: Counters,
        latest: Latest,
        clock: Clock,
        lag: LoopLag,
        folder: Path | None = None,  # where the spool lies
        log: Callable[[], Sequence[Json]] = list,
    ) -> None:
        self.certificates: Callable[[], Sequence[Json]] = list  # the application sets it once there are steps
        self.stalled: Callable[[], Iterable[str]] = list  # and this once there is a watchdog: what makes no progress
        self.counters = counters
        self.trends = Trends(latest)
        self.ready = False
        self.plant = plant  # a reload sets the new one
        self._identity = identity
        self._latest = latest
        self._clock = clock
        self._lag = lag
        self._folder = folder
        self._log = log
        self._started = time.monotonic()
        self._events: deque[Json] = deque(maxlen=EVENTS)
        self._losses: deque[Json] = deque(maxlen=EVENTS)

    def event(self, event: Mapping[str, Any]) -> None:
        """Show an event (wire.md's object) on the page."""
        (self._losses if event.get("event") == "loss" else self._events).appendleft(dict(event))

    @property
    def build(self) -> Mapping[str, str]:
        """The labels of `build_info`."""
        return {"version": self._identity.version, "python": platform.python_version(), "gateway": self._identity.name}

    def health(self) -> Json:
        """The overview."""
        counters, now = self.counters, self._clock.now_ns()
        stalled = sorted(self.stalled())
        reasons = [*(f"{name} makes no progress" for name in stalled), *self._reasons()]
        return {
            "status": "starting" if not self.ready else "degraded" if reasons else "ok",
            "ready": self.ready,
            "live": not stalled,
            "reasons": reasons,
            "gateway": self._identity.name,
            "version": self._identity.version,
            "boot": self._identity.boot,
            "time": now // 1_000_000,
            "uptime_seconds": round(time.monotonic() - self._started, 1),
            "clock": {"synchronised": self._clock.stamp.synchronised},
            "devices": {name: _link(counters.device(name)) for name in self.plant.devices},
            "upstreams": {name: _link(counters.upstream(name)) for name in self.plant.upstreams},
            "tags": sum(len(tags) for tags in self.plant.table.devices.values()),
            "readings": {
                "polled": counters.polled,
                "kept": counters.kept,
                "acknowledged": sum(counters.upstream(name).readings for name in self.plant.upstreams),
                "lost": counters.spool.lost.total(),
            },
            "compression_ratio": round(counters.polled / counters.kept, 2) if counters.kept else None,
            "backlog": {
                "readings": max((counters.upstream(name).backlog for name in self.plant.upstreams), default=0),
                "age_seconds": max((_age_s(counters.upstream(name), now) for name in self.plant.upstreams), default=0),
            },
            "spool": self._spool_facts(),
            "process": {**_process(), "event_loop_lag_seconds": round(self._lag.seconds, 4)},
        }

    def devices(self) -> list[Json]:
        """One object per device, in the order of the configuration."""
        rows = []
        for name, facts in self.plant.devices.items():
            device = self.counters.device(name)
            rows.append(
                {
                    "name": name,
                    **_link(device),
                    "detail": device.detail,
                    "connection": facts.connection,
                    "driver": facts.driver,
                    "every_seconds": facts.every_s,
                    "tags": len(self.plant.table.devices.get(name, ())),
                    "polls": device.polls,
                    "errors": dict(device.errors),
                    "missed": device.missed,
                    "last_good": _ms(device.last_good_ns),
                    "latency_seconds": round(device.last_seconds, 6),
                    "mean_latency_seconds": round(device.seconds / device.polls, 6) if device.polls else None,
                    "lateness_seconds": round(device.lateness, 6),
                }
            )
        return rows

    def tags(self, selection: Selection) -> TagPage:
        """The newest reading of each selected tag, in the order of the configuration."""
        table, by_device = self.plant.table, self.plant.table.devices
        wanted = [tags for device, tags in by_device.items() if selection.device in {"", device}]
        indices = np.concatenate([_NO_TAGS, *wanted])
        if selection.search:
            text = selection.search.lower()
            indices = indices[[text in table[tag].full_name.lower() for tag in indices.tolist()]]
        if selection.poor:
            indices = indices[self._latest.quality[indices] != Quality.GOOD]
        page = indices[selection.offset : selection.offset + selection.limit]
        rows = [self._tag(tag) for tag in page.tolist()]
        if selection.trend:
            for row, trend in zip(rows, self.trends.of(page), strict=True):
                if row["type"] != "string":
                    row["trend"] = trend
        return TagPage(len(indices), rows)

    def upstreams(self) -> list[Json]:
        """One object per upstream, in the order of the configuration."""
        now = self._clock.now_ns()
        rows = []
        for name, facts in self.plant.upstreams.items():
            upstream = self.counters.upstream(name)
            rows.append(
                {
                    "name": name,
                    **_link(upstream),
                    "broker": facts.broker,
                    "format": facts.format,
                    "window": facts.window,
                    "in_flight": upstream.in_flight,
                    "messages": upstream.messages,
                    "readings": upstream.readings,
                    "refused": dict(upstream.refused),
                    "last_acknowledged": _ms(upstream.last_ack_ns),
                    "latency_seconds": round(upstream.latency_seconds, 6),
                    "backlog_readings": upstream.backlog,
                    "backlog_age_seconds": _age_s(upstream, now),
                }
            )
        return rows

    def losses(self) -> Json:
        """What was lost since the start: sums by reason, and the newest losses."""
        return {"total": dict(self.counters.spool.lost), "losses": list(self._losses)}

    def events(self) -> list[Json]:
        """The newest events, newest first."""
        return list(self._events)

    def log(self) -> Sequence[Json]:
        """The newest log lines, oldest first."""
        return self._log()

    def _reasons(self) -> Iterable[str]:
        for name in self.plant.devices:
            device = self.counters.device(name)
            if not device.up:
                yield ": ".join(filter(None, (f"device {name} is down", device.reason, device.detail)))
        for name in self.plant.upstreams:
            upstream = self.counters.upstream(name)
            if not upstream.up:
                yield ": ".join(filter(None, (f"upstream {name} is down", upstream.reason)))
        if self.counters.spool.error:
            yield f"the spool can't use its disk: {self.counters.spool.error}"
        if not self._clock.stamp.synchronised:
            yield "the clock is not synchronised"

    def _tag(self, index: int) -> Json:
        tag, latest = self.plant.table[index], self._latest
        quality = Quality(int(latest.quality[index]))
        row: Json = {
            "tag": tag.full_name,
            "device": tag.device,
            "name": tag.name,
            "value": self._value(index),
            "unit": tag.unit,
            "quality": quality.word,
            "time": _ms(int(latest.time_ns[index])),
            "type": tag.type,
            "address": tag.address,
            "writable": tag.write is not None,
        }
        if quality.reason:
            row["reason"] = quality.reason
        return row

    def _value(self, index: int) -> Any:
        value, kind = float(self._latest.value[index]), self.plant.table[index].kind
        if value != value or abs(value) == float("inf"):  # noqa: PLR0124  # NaN: there is no value
            return None
        if kind == "text":
            return self._latest.text(index)
        return bool(value) if kind == "bool" else int(value) if kind == "integer" else value

    def _spool_facts(self) -> Json:
        spool = self.counters.spool
        facts: Json = {
            "memory_bytes": spool.memory_bytes,
            "disk_bytes": spool.disk_bytes,
            "blocks": spool.blocks,
            "committed": spool.committed,
            "error": spool.error,
        }
        if self._folder is not None:
            facts["disk_free_bytes"] = _free_bytes(self._folder)
        return facts


def _link(link: Any) -> Json:
    return {"up": link.up, "reason": link.reason, "since": _ms(link.since_ns)}


def _ms(time_ns: int) -> int | None:
    return time_ns // 1_000_000 or None


def _age_s(upstream: UpstreamCounters, now_ns: int) -> float:
    return round(max(0, now_ns - upstream.oldest_ns) / 1e9, 1) if upstream.oldest_ns else 0.0


def _free_bytes(folder: Path) -> int | None:
    try:
        facts = os.statvfs(folder)
    except OSError:
        return None
    return facts.f_bavail * facts.f_frsize


def _process() -> Json:
    """Memory and CPU time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    try:
        resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except OSError:
        resident = used.ru_maxrss * (1024 if sys.platform == "linux" else 1)
    return {"rss_bytes": resident, "cpu_seconds": round(used.ru_utime + used.ru_stime, 3)}
