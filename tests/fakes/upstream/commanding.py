"""What the command executor needs: a memory, an audit log and devices, all in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.block import ClockStamp
from gateway.errors import WriteError
from gateway.readings import Tag, TagTable, WriteLimits
from gateway.runtime.clock import Clock
from gateway.upstream.commands import Executor
from gateway.upstream.requests import Value

TABLE = TagTable(
    [
        Tag("press", "setpoint", "int16", write=WriteLimits(0, 1500)),
        Tag("press", "speed", "uint16", scale=0.1, write=WriteLimits()),
        Tag("press", "running", "bool", write=WriteLimits()),
        Tag("press", "batch_id", "string", write=WriteLimits()),
        Tag("press", "temperature", "float32"),
    ]
)
TABLE_OF_TWO = TagTable([*TABLE, Tag("oven", "level", "int16", write=WriteLimits())])
NOW_NS = 1_732_258_800_000_000_000


class FakeMemory:
    def __init__(self) -> None:
        self.kept: dict[str, tuple[bytes, int]] = {}

    async def recall(self, key: str) -> bytes | None:
        return self.kept[key][0] if key in self.kept else None

    async def remember(self, key: str, value: bytes, until_ns: int) -> None:
        self.kept[key] = (value, until_ns)


class FakeAudit:
    def __init__(self) -> None:
        self.records: list[tuple[str, Mapping[str, object]]] = []
        self.broken = False

    async def record(self, time_ms: int, kind: str, body: Mapping[str, object]) -> str:
        if self.broken:
            raise OSError("disk full")
        self.records.append((kind, body))
        return f"hash{len(self.records)}"


class FakeClock(Clock):
    """Stands still, synchronised unless told otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.utc = NOW_NS
        self.stamp = ClockStamp("", 0, synchronised=True)

    def now_ns(self) -> int:
        return self.utc


@dataclass
class Plant:
    """Devices that take what is written, and the executor in front of them."""

    table: TagTable = TABLE
    written: list[tuple[str, Value]] = field(default_factory=list)
    errors: dict[str, WriteError] = field(default_factory=dict)
    readbacks: dict[str, Value] = field(default_factory=dict)
    events: list[Mapping[str, object]] = field(default_factory=list)
    memory: FakeMemory = field(default_factory=FakeMemory)
    audit: FakeAudit = field(default_factory=FakeAudit)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.executor = self.restarted()

    def restarted(self) -> Executor:
        """A new executor on the same memory, as after a restart."""
        self.executor = Executor(self.table, self.write, self.clock, self.memory, self.audit, self.events.append)
        return self.executor

    async def write(self, tag: int, value: Value) -> Value:
        name = self.table[tag].full_name
        if name in self.errors:
            raise self.errors[name]
        self.written.append((name, value))
        return self.readbacks.get(name, value)
