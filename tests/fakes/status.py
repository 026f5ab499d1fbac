"""A small plant behind a real View: counters and readings that a test, or a person looking at the page, can move."""

from __future__ import annotations

import math
import time

import numpy as np

from gateway.readings import Quality, Readings, Tag, TagTable, WriteLimits, text_hash
from gateway.runtime.clock import Clock
from gateway.runtime.counters import Counters
from gateway.runtime.lag import LoopLag
from gateway.runtime.latest import Latest
from gateway.runtime.status.source import Json
from gateway.runtime.status.view import DeviceFacts, Identity, Plant, UpstreamFacts, View

TAGS = (
    Tag("press", "temperature", "float32", "degC", -40, 400, address="holding:100"),
    Tag("press", "running", "bool", address="coil:3"),
    Tag("press", "speed", "uint16", "rpm", scale=0.1, address="holding:120"),
    Tag("press", "setpoint", "int16", write=WriteLimits(0, 1500), address="holding:130"),
    Tag("press", "batch_id", "string", address="holding:300"),
    Tag("meter-1", "power", "float32", "W", address="input:52"),
    Tag("meter-2", "power", "float32", "W", address="input:52"),
    Tag("welder", "current", "float64", "A", address="ns=2;s=Weld.Current"),
    Tag("welder", "program", "string", address="ns=2;s=Weld.Program"),
)


class FakePlant:
    """Four devices, two upstreams; meter-2 is dead and the cloud is away."""

    def __init__(self, more: int = 0) -> None:
        table = TagTable([*TAGS, *(Tag("line", f"zone-{n}", "int16", address=f"input:{n}") for n in range(more))])
        self.table = table
        self.counters = Counters()
        self.latest = Latest(table)
        self.clock = Clock(boot="test")
        self.lines: list[Json] = []
        modbus = DeviceFacts("press-plc", "modbus-tcp", 0.5)
        meters = DeviceFacts("meters", "modbus-rtu", 2.0)
        devices = {"press": modbus, "meter-1": meters, "meter-2": meters, "welder": DeviceFacts("robot", "opcua", 0.1)}
        if more:
            devices["line"] = modbus
        upstreams = {
            "plant": UpstreamFacts("mqtts://broker.plant.local:8883", "json", 100),
            "cloud": UpstreamFacts("mqtts://iot.example.com:8883", "sparkplug", 100),
        }
        self.view = View(
            Identity("welding-cell-3", "1.0.0", "9f2c61"),
            Plant(table, devices, upstreams),
            self.counters,
            self.latest,
            self.clock,
            LoopLag(),
            log=lambda: self.lines,
        )
        self.view.ready = True
        for name in devices:
            self.counters.device(name).up = name != "meter-2"
            self.counters.device(name).since_ns = self.clock.now_ns()
        self.counters.device("meter-2").reason = "timeout"
        self.counters.upstream("plant").up = True
        self.counters.upstream("cloud").reason = "connection refused"

    def move(self, at_s: float) -> None:
        """One second of the plant's life."""
        now = self.clock.now_ns()
        values = [
            211.5 + 4 * math.sin(at_s / 9),
            float(int(at_s / 20) % 2),
            90 + 3 * math.sin(at_s / 5),
            900.0,
            float(text_hash("A-1042")),
            1520 + 80 * math.sin(at_s / 13),
            math.nan,
            180 + 25 * math.sin(at_s / 3),
            float(text_hash("P7 thin sheet")),
        ]
        values += [float(n % 100) for n in range(len(self.table) - len(values))]
        quality = np.full(len(values), Quality.GOOD, np.uint8)
        quality[6] = Quality.BAD_TIMEOUT
        quality[7] = Quality.UNCERTAIN_REPAIRED
        rows = len(values)
        texts = {text_hash(text): text for text in ("A-1042", "P7 thin sheet")}
        self.latest.update(
            Readings(np.arange(rows, dtype=np.uint32), np.full(rows, now, np.int64), np.array(values), quality, texts)
        )
        counters = self.counters
        counters.polled += 1204
        counters.kept += 190
        for name in ("press", "meter-1", "welder"):
            counters.device(name).polled(0.004 + 0.001 * math.sin(at_s), now)
        counters.device("meter-2").errors["timeout"] += 1
        plant, cloud = counters.upstream("plant"), counters.upstream("cloud")
        plant.readings, plant.messages = plant.readings + 190, plant.messages + 4
        plant.last_ack_ns, plant.latency_seconds, plant.in_flight = now, 0.012, 3
        cloud.backlog += 190
        cloud.oldest_ns = cloud.oldest_ns or now
        counters.spool.memory_bytes += 1900
        self.view.trends.sample()

    def incident(self) -> None:
        """A loss, two events and some log lines."""
        now = int(time.time() * 1000)
        head = {"gateway": "welding-cell-3", "boot": "9f2c61", "time": now}
        self.counters.spool.lost["missed_tick"] += 14
        tags = ["press.temperature", "press.running", "press.speed", "press.setpoint", "press.batch_id"]
        loss = {"event": "loss", "reason": "missed_tick", "tags": tags, "from": now - 7000, "to": now, "count": 14}
        self.view.event({**head, "seq": 1, **loss})
        self.view.event({**head, "seq": 2, "event": "clock_step", "step_seconds": 3600})
        changed = {"devices": ["press"], "upstreams": []}
        self.view.event({**head, "seq": 3, "event": "reload", "result": "applied", "changed": changed})
        line = {"time": now, "level": "info", "message": "welding-cell-3: ready in 1.2 s"}
        self.lines += [
            {**line, "number": 1},
            {**line, "number": 2, "level": "warning", "message": "meter-2: down: no answer", "device": "meter-2"},
            {**line, "number": 3, "level": "error", "message": "cloud: down: connection refused <script>alert(1)"},
        ]
