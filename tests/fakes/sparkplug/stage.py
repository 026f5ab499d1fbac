"""What a scenario plays on: a broker behind a tap, a host that listens and commands, and the parts of a gateway."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateway.block import Block, BlockId
from gateway.readings import Quality, Readings, Tag, TagTable
from gateway.runtime.latest import Latest
from tests.fakes.mosquitto import Collector, Mosquitto
from tests.fakes.sparkplug.schema import Payload
from tests.fakes.sparkplug.tap import Recorder, Tap
from tests.fakes.sparkplug.transcript import REBIRTH, Transcript
from tests.fakes.upstream.commanding import TABLE as PRESS
from tests.fakes.upstream.commanding import Plant
from tests.fakes.upstream.delivery import STAMP, FakeDelivery
from tests.fakes.upstream.running import Running, running
from tests.fakes.upstream.sparkplug import Memory
from tests.fakes.waiting import until

GROUP: Final = "g"
HOST: Final = "scada"
TABLE: Final = TagTable(
    [
        *PRESS,
        Tag("meter", "power", unit="kW", low=0.0, high=100.0),
        Tag("meter", "energy", "uint32"),
        Tag("meter", "z.0"),
    ]
)
MS: Final = 1_000_000


def _now_ms() -> int:
    return time.time_ns() // MS


@dataclass
class Stage:
    """One broker. Blocks go in by `offer`, what came of them is in `recorder`."""

    broker: Mosquitto
    tap: Tap
    host: Collector
    recorder: Recorder
    options: dict[str, Any] = field(default_factory=dict)
    delivery: FakeDelivery = field(default_factory=FakeDelivery)
    latest: Latest = field(default_factory=lambda: Latest(TABLE))
    memory: Memory = field(default_factory=Memory)
    plc: Plant = field(default_factory=Plant)
    blocks: int = 0
    newest_ms: int = 0
    offered: set[tuple[int, int]] = field(default_factory=set)  # (alias, ms) of each reading

    @asynccontextmanager
    async def gateway(self, **more: Any) -> AsyncIterator[Running]:
        """A running upstream, stopped as wanted at the end."""
        options = {"broker": self.tap.url, **self.options, **more}
        async with running(
            options.pop("broker"), self.delivery, table=TABLE, latest=self.latest, memory=self.memory,
            format="sparkplug", commands=self.plc.executor, listen=True, **options,
        ) as up:  # fmt: skip
            yield up

    # what the plant does

    async def offer(self, values: Mapping[str, float], *, age_ms: int = 0, quality: int = Quality.GOOD) -> None:
        """A block with one reading of each tag, in milliseconds of their own; `age_ms` 0: the newest there are."""
        while _now_ms() - len(values) < self.newest_ms:  # noqa: ASYNC110  # time tells nobody
            await asyncio.sleep(0.001)
        self.newest_ms = _now_ms()
        at_ns = (self.newest_ms - age_ms) * MS
        readings = Readings(
            np.array([TABLE.index(name) for name in values], np.uint32),
            at_ns - np.roll(np.arange(len(values)), 1) * MS,  # in no order of time
            np.array(list(values.values()), np.float64),
            np.full(len(values), quality, np.uint8),
        )
        if not age_ms:
            self.latest.update(readings)
        self.offered |= set(zip((readings.tag + 1).tolist(), (readings.time_ns // MS).tolist(), strict=True))
        self._append(TABLE, readings, ())

    def offer_event(self, event: str) -> None:
        """A block with one event of now."""
        text = json.dumps({"gateway": "cell", "time": _now_ms(), "event": event}).encode()
        self._append(TagTable(), Readings.empty(), (text,))

    def _append(self, table: TagTable, readings: Readings, events: tuple[bytes, ...]) -> None:
        self.blocks += 1
        self.delivery.append(Block(BlockId("9f2c61", self.blocks), table, readings, events, STAMP, time.time_ns()))

    # what the host does

    async def say(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Publish from the host."""
        await asyncio.to_thread(self.host.publish, topic, payload, qos=qos, retain=retain)

    async def command(self, device: str = "", *, qos: int = 0, retain: bool = False, **metric: Any) -> None:
        """NCMD, or DCMD to a device, with one metric in the form the specification gives it."""
        payload = Payload(timestamp=_now_ms())
        payload.metrics.add(**metric)
        topic = f"spBv1.0/{GROUP}/DCMD/cell/{device}" if device else f"spBv1.0/{GROUP}/NCMD/cell"
        await self.say(topic, payload.SerializeToString(), qos=qos, retain=retain)

    async def ask(self, device: str, **command: Any) -> None:
        """DCMD with one metric; returns once the device's DDATA came behind it."""
        before = self.count("DDATA", device)
        await self.command(device, **command)
        await self.until("DDATA", before + 1, device)

    async def rebirth(self, **changed: Any) -> None:
        """Ask for births."""
        await self.command(
            **{"name": REBIRTH, "timestamp": _now_ms(), "datatype": 11, "boolean_value": True, **changed}
        )

    async def state(self, time_ms: int, *, online: bool, name: str = HOST) -> None:
        """What a host application says of itself, retained."""
        await self.say(
            f"spBv1.0/STATE/{name}", json.dumps({"online": online, "timestamp": time_ms}).encode(), qos=1, retain=True
        )

    async def fence(self) -> None:
        """Return once the gateway took a command that was sent now, and so everything the broker sent before it."""
        recorded = len(self.plc.audit.records)
        await self.command("press", name="fence", int_value=0)
        await until(lambda: len(self.plc.audit.records) > recorded)

    # what came of it

    def count(self, kind: str, device: str = "") -> int:
        """How often the gateway published a type."""
        topic = f"spBv1.0/{GROUP}/{kind}/" + (f"cell/{device}" if device else "")
        return sum(one.sent and one.topic.startswith(topic) for one in self.recorder.packets)

    async def until(self, kind: str, times: int = 1, device: str = "") -> None:
        """Wait for the gateway's messages of a type."""
        await until(lambda: self.count(kind, device) >= times)

    async def drained(self) -> None:
        """Wait until nothing is left in the spool."""
        await until(lambda: not self.delivery.left)

    async def over(self) -> None:
        """Wait for the end of the last connection, and until the host heard all that the broker said of it."""
        await until(lambda: self.recorder.packets[-1].kind == "CLOSED")
        before = len(self.host.payloads("over"))
        await self.say("over", b"", qos=1)
        await until(lambda: len(self.host.payloads("over")) > before)

    def transcript(self, name: str, **facts: Any) -> Transcript:
        """What was recorded, with what reached the devices."""
        results = [body["results"] for kind, body in self.plc.audit.records if kind == "result"]
        return Transcript(
            name,
            tuple(self.recorder.packets),
            tuple(self.host.messages),
            {
                "written": list(self.plc.written),
                "results": results,
                "audit": list(self.plc.audit.records),
                "offered": self.offered,
                **facts,
            },
        )


@asynccontextmanager
async def stage(
    folder: Path, recorder: Recorder | None = None, server: int = 0, **options: Any
) -> AsyncIterator[Stage]:
    """A broker with everything around it; `options` are the upstream's."""
    recorder = recorder or Recorder()
    await asyncio.to_thread(folder.mkdir, parents=True)
    sparkplug = {"group": GROUP, **options.pop("sparkplug", {})}
    with Mosquitto(folder) as broker, Collector(broker.port) as host:
        async with Tap(recorder, broker.port, server) as tap:
            yield Stage(broker, tap, host, recorder, {"sparkplug": sparkplug, **options})
