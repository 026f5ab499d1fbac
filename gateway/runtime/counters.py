"""Plain counters that the stages bump and the status server, the watchdog and the demo read. No locks: one loop."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class DeviceCounters:
    """What happened on one device."""

    up: bool = False
    reason: str = ""  # why it is down: timeout, link, exception, ...
    detail: str = ""  # the same in words, where there are any
    since_ns: int = 0  # UTC of the last change of `up`
    polls: int = 0  # requests that got a good answer
    errors: Counter[str] = field(default_factory=Counter)  # failed requests by reason
    missed: int = 0  # grid slots that passed unserved
    last_good_ns: int = 0  # UTC of the last good answer
    seconds: float = 0.0  # total time spent in requests
    last_seconds: float = 0.0
    lateness: float = 0.0  # of the last poll against its slot, seconds

    def polled(self, seconds: float, now_ns: int) -> None:
        """One request was answered well."""
        self.polls += 1
        self.seconds += seconds
        self.last_seconds = seconds
        self.last_good_ns = now_ns


@dataclass(slots=True)
class UpstreamCounters:
    """What happened towards one broker."""

    up: bool = False
    reason: str = ""
    since_ns: int = 0
    in_flight: int = 0  # messages
    messages: int = 0  # acknowledged messages
    readings: int = 0  # acknowledged readings
    refused: Counter[str] = field(default_factory=Counter)  # PUBACK failures by reason code name
    last_ack_ns: int = 0
    latency_seconds: float = 0.0  # of the last acknowledged message
    backlog: int = 0  # readings not yet acknowledged
    oldest_ns: int = 0  # reading time of the oldest of them, 0 where there is none


@dataclass(slots=True)
class SpoolCounters:
    """What the spool holds and lost."""

    memory_bytes: int = 0
    disk_bytes: int = 0
    blocks: int = 0
    committed: int = 0  # blocks ever written to disk
    error: str = ""  # why the disk can't be used; empty where it can
    lost: Counter[str] = field(default_factory=Counter)  # readings by loss reason


@dataclass(slots=True)
class Counters:
    """All counters of one daemon."""

    devices: dict[str, DeviceCounters] = field(default_factory=dict)
    upstreams: dict[str, UpstreamCounters] = field(default_factory=dict)
    spool: SpoolCounters = field(default_factory=SpoolCounters)
    polled: int = 0  # readings that entered the pipeline
    kept: int = 0  # readings that left it

    def device(self, name: str) -> DeviceCounters:
        """The device's counters, made at first use."""
        found = self.devices.get(name)  # each poll asks: the default of `setdefault` would be made each time
        if found is None:
            found = self.devices[name] = DeviceCounters()
        return found

    def upstream(self, name: str) -> UpstreamCounters:
        """The upstream's counters, made at first use."""
        return self.upstreams.setdefault(name, UpstreamCounters())
