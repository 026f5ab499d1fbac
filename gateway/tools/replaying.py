"""Recorded readings through a configuration's pipeline, and what that cost. Nothing is printed here.

Errors are those of the lossy step: its input against what a receiver rebuilds from the kept readings, by straight
lines for swinging-door, by holding for deadband and on-change. Where only filters (spike, median, smooth) stand before
it, the error against the recorded values is given too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.block import Block, BlockId, ClockStamp
from gateway.config import Configuration
from gateway.pipeline.derived import DEVICE, Derived, DerivedSettings, DerivedTag
from gateway.pipeline.engine import Pipeline
from gateway.pipeline.grammar import parse
from gateway.pipeline.settings import LOSSY, STEPS, Step, resolution
from gateway.readings import BAD, Readings, TagTable
from gateway.spool.settings import Seal
from gateway.tools.recording import Recording
from gateway.upstream.columns import ColumnsPayload
from gateway.upstream.identity import Identity
from gateway.upstream.json import JsonPayload
from gateway.upstream.payload import Payload, Properties5

CHUNK: Final = 5000  # rows handed to the pipeline at once
MOST_BLOCKS: Final = 1000  # encoded to learn the bytes per reading; of more blocks an even sample
_SAME_TIMES: Final = frozenset({"spike", "median", "smooth", "anomaly", *LOSSY})
_LARGEST_MESSAGE: Final = 64 << 10
_TOPIC: Final = "{gateway}/{device}"
_BOOT: Final = "000000"


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """What went in (derived tags included), what came to the lossy steps, and what left the pipeline."""

    received: Readings
    before: Readings
    kept: Readings


@dataclass(frozen=True, slots=True, eq=False)
class TagFigures:
    """One recorded or derived tag. Errors are NaN where nothing was compared."""

    tag: int
    received: int
    kept: int
    worst_error: float
    rms_error: float
    raw_worst_error: float
    raw_rms_error: float
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    rebuilt: NDArray[np.float64]  # at each time of `time_ns`

    @property
    def ratio(self) -> float:
        """Kept of received."""
        return self.kept / self.received if self.received else 0.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """Payload bytes for each reading that left the pipeline, in blocks as the spool seals them."""

    json: float
    columns: float


def recordable(configuration: Configuration) -> list[int]:
    """The tags a recording may hold: those of devices, not what steps and expressions compute."""
    table = configuration.table
    return [
        table.index(plan.tag.full_name)
        for plan in configuration.tags
        if not plan.computed and plan.tag.device != DEVICE
    ]


def run(table: TagTable, steps: dict[int, Sequence[Step]], derived: Derived, readings: Readings) -> Replayed:
    """Send readings through fresh stages, in their order, and flush."""
    before: list[Readings] = []
    received: list[Readings] = []
    kept: list[Readings] = []
    pipeline = Pipeline(table, steps, before.append)
    for start in range(0, len(readings), CHUNK):
        rows = derived.process(readings.where(slice(start, start + CHUNK)))
        received.append(rows)
        kept.append(pipeline.process(rows))
    kept.append(pipeline.flush())
    return Replayed(Readings.join(received), Readings.join(before), Readings.join(kept))


def replay_all(configuration: Configuration, recording: Recording) -> Replayed:
    """Send a recording through a configuration's steps, and the derived tags whose inputs it all has."""
    table = configuration.table
    derived = Derived(table, _computable(configuration, recording.tags))
    return run(table, dict(configuration.steps), derived, recording.readings)


def _computable(configuration: Configuration, recorded: Sequence[int]) -> DerivedSettings | None:
    if configuration.derived is None:
        return None
    table = configuration.table
    known = {tag.full_name: tag for tag in table}
    waiting = {name: set(parse(entry.expression, known).inputs) for name, entry in configuration.derived.tags.items()}
    present = {table[index].full_name for index in recorded}
    chosen: dict[str, DerivedTag] = {}
    while ready := [name for name, inputs in waiting.items() if inputs <= present]:
        for name in ready:
            del waiting[name]
            present.add(f"{DEVICE}.{name}")
            chosen[name] = configuration.derived.tags[name]
    return DerivedSettings(tags=chosen) if chosen else None


def figures(replayed: Replayed, steps: Sequence[Step], tag: int) -> TagFigures:
    """What one tag's steps kept and how far what they dropped is from what is rebuilt."""
    from gateway.pipeline.kernels.rebuild import rebuild  # noqa: PLC0415  # loads numba

    raw, entered, kept = (_of(part, tag) for part in (replayed.received, replayed.before, replayed.kept))
    kinds = [step.kind for step in steps]
    rebuilt = np.full(len(entered), np.nan)
    rebuild(
        entered.time_ns,
        entered.value,
        entered.quality,
        kept.time_ns,
        kept.value,
        kept.quality,
        "swinging-door" in kinds,
        rebuilt,
    )
    worst, rms = _errors(rebuilt - entered.value)
    raw_worst, raw_rms = math.nan, math.nan
    if set(kinds) <= _SAME_TIMES and np.array_equal(raw.time_ns, entered.time_ns):
        good = raw.quality < BAD
        raw_worst, raw_rms = _errors((rebuilt - raw.value)[good])
    return TagFigures(tag, len(raw), len(kept), worst, rms, raw_worst, raw_rms, entered.time_ns, entered.value, rebuilt)


def sizes(table: TagTable, kept: Readings, seal: Seal, gateway: str) -> Sizes:
    """Bytes per reading of both formats; NaN where nothing was kept. Blocks are cut by the readings' own times."""
    if not len(kept):
        return Sizes(math.nan, math.nan)
    blocks = _blocks(kept, seal)
    chosen = blocks if len(blocks) <= MOST_BLOCKS else blocks[:: -(-len(blocks) // MOST_BLOCKS)]
    identity = Identity(gateway, _BOOT, "")
    properties = Properties5(identity, enabled=False)
    formats: tuple[Payload, Payload] = (
        JsonPayload(identity, _TOPIC, properties=properties),
        ColumnsPayload(identity, _TOPIC, properties=properties),
    )
    clock = ClockStamp("", 0, synchronised=True)
    used, rows = [0, 0], 0
    for number, (start, stop) in enumerate(chosen):
        block = Block(BlockId(_BOOT, number), table, kept.where(slice(start, stop)), (), clock, 0)
        for place, payload in enumerate(formats):
            used[place] += sum(len(message.payload) for message in payload.messages(block, _LARGEST_MESSAGE))
        rows += stop - start
    return Sizes(used[0] / rows, used[1] / rows)


def suggestion(table: TagTable, readings: Readings, tag: int) -> float:
    """A deviation of three sigmas of a tag's noise, from the median absolute deviation of its first differences.

    Where most differences are equal, the resolution takes its place. Two digits, rounded up; 0 for a constant.
    """
    rows = _of(readings, tag)
    good = rows.value[(rows.quality < BAD) & np.isfinite(rows.value)]
    if len(good) < 3:
        return 0.0
    differences = np.diff(good)
    sigma = 1.4826 * float(np.median(np.abs(differences - np.median(differences)))) / math.sqrt(2.0)
    found = 3.0 * sigma
    if found <= 0.0:
        steps = np.abs(differences[differences != 0.0])
        found = resolution(table[tag]) or (float(steps.min()) if len(steps) else 0.0)
    if not 0.0 < found < math.inf:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(found)) - 1)
    return float(f"{math.ceil(found / unit - 1e-9) * unit:.12g}")


def trial(table: TagTable, readings: Readings, tag: int, deviation: float) -> float:
    """The share a swinging door with this deviation would keep of one tag."""
    rows = _of(readings, tag)
    steps = STEPS.validate_python([{"swinging-door": {"deviation": deviation}}])
    replayed = run(table, {tag: steps}, Derived(table, None), rows)
    return len(replayed.kept) / len(rows)


def _of(readings: Readings, tag: int) -> Readings:
    return readings.where(np.flatnonzero(readings.tag == tag))


def _errors(difference: NDArray[np.float64]) -> tuple[float, float]:
    """Worst and root mean square of what was compared."""
    found = np.abs(difference[np.isfinite(difference)])
    if not found.size:
        return math.nan, math.nan
    return float(found.max()), float(np.sqrt(np.mean(found * found)))


def _blocks(kept: Readings, seal: Seal) -> list[tuple[int, int]]:
    """Row ranges of blocks: a new one at each `max_age` of the readings' times, and after `max_readings`."""
    slots = kept.time_ns // round(seal.max_age * 1e9)
    edges = [0, *(np.flatnonzero(np.diff(slots)) + 1).tolist(), len(kept)]
    return [
        (first, min(first + seal.max_readings, stop))
        for start, stop in pairwise(edges)
        for first in range(start, stop, seal.max_readings)
    ]
