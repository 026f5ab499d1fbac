"""Steps as kernels against plain Python and memcpy, points kept against the optimum, and what a start costs.

python -m tests.bench.bench_kernels [--json FILE]
All figures of one run stem from the same machine in the same minute: trust their ratios.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gateway.pipeline.engine import Pipeline
from gateway.pipeline.kernels import deadband
from gateway.pipeline.settings import STEPS
from gateway.pipeline.stages.stage import Use
from gateway.pipeline.stages.thin import Thin
from gateway.readings import Readings, Tag, TagTable
from tests.bench.optimum import Series, optimum, strictly_rising, three_sigma, worst_error
from tests.bench.plain import Aperture, Deadband, Filter, Reading, through
from tests.bench.series import ABSENT, real_series

T = TypeVar("T")
TAGS = 10_000
POLLS = 120
YEARS = 3650 * 86400 * 10**9
LEVEL, NOISE, DEVIATION = 0.02, 1 / 3, 1.0  # a wandering level under noise of a third of the deviation: 3 sigma


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None


def at_least(name: str, value: float, least: float, unit: str = "x") -> Figure:
    return Figure(name, value, unit, f">= {least:g}", value >= least)


def at_most(name: str, value: float, most: float, unit: str = "x") -> Figure:
    return Figure(name, value, unit, f"<= {most:g}", value <= most)


def median_us(call: Callable[[T], object], polls: Sequence[Readings], make: Callable[[Readings], T]) -> float:
    """Time of a call with what `make` makes of each poll just before: in the cache, as in a daemon.

    The least of the medians of six parts, so that what else runs on the machine counts little. The first part warms up.
    """
    taken = []
    for poll in polls:
        given = make(poll)
        started = time.perf_counter_ns()
        call(given)
        taken.append(time.perf_counter_ns() - started)
    parts = np.array_split(np.array(taken), 6)[1:]
    return min(float(np.median(part)) for part in parts) / 1000


def columns(poll: Readings) -> Readings:
    """The poll in fresh memory, as a driver hands it on."""
    return Readings(poll.tag.copy(), poll.time_ns.copy(), poll.value.copy(), poll.quality.copy())


def plant(tags: int, polls: int = POLLS) -> list[Readings]:
    """Polls of tags once a second."""
    random = np.random.default_rng(7)
    level = np.cumsum(random.normal(scale=LEVEL, size=(polls, tags)), axis=0)
    values = level + random.normal(scale=NOISE, size=(polls, tags))
    numbers, quality = np.arange(tags, dtype=np.uint32), np.zeros(tags, np.uint8)
    return [
        Readings(numbers, np.full(tags, second * 10**9, np.int64), values[second], quality) for second in range(polls)
    ]


def line(tags: int, step: dict[str, Any]) -> Pipeline:
    chain = STEPS.validate_python([step])
    return Pipeline(TagTable(Tag("plant", f"t{number}") for number in range(tags)), dict.fromkeys(range(tags), chain))


def objects(poll: Readings) -> list[Reading]:
    columns = (poll.tag, poll.time_ns, poll.value, poll.quality)
    return [Reading(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def plain_us(filters: Sequence[Filter], polls: Sequence[Readings]) -> float:
    """A poll through plain objects; making the readings' objects isn't counted."""
    return median_us(partial(through, dict(enumerate(filters))), polls[:60], objects)


def polls_of_many_tags() -> list[Figure]:
    polls = plant(TAGS)
    thin = line(TAGS, {"deadband": {"absolute": DEVIATION}})
    door = line(TAGS, {"swinging-door": {"deviation": DEVIATION}})
    thin_us = median_us(thin.process, polls, columns)
    door_us = median_us(door.process, polls, columns)
    plain_thin_us = plain_us([Deadband(DEVIATION) for _ in range(TAGS)], polls)
    plain_door_us = plain_us([Aperture(DEVIATION) for _ in range(TAGS)], polls)
    filters: dict[int, Filter] = {number: Deadband(DEVIATION) for number in range(TAGS)}
    made_us = median_us(lambda poll: through(filters, objects(poll)), polls[:60], columns)
    kernel_us, copy_us = kernel_and_copy(polls)
    chain_thin_us = registers_us(polls, {"deadband": {"absolute": DEVIATION}})
    chain_door_us = registers_us(polls, {"swinging-door": {"deviation": DEVIATION}})
    return [
        Figure("deadband, poll of 10,000 tags: pipeline", thin_us, "us"),
        Figure("deadband, poll of 10,000 tags: plain Python objects", plain_thin_us, "us"),
        at_least("deadband: kernel against plain Python objects", plain_thin_us / kernel_us, 100),
        at_least("deadband: pipeline against plain Python objects", plain_thin_us / thin_us, 100),
        Figure("deadband: pipeline against plain Python that makes the objects too", made_us / thin_us, "x"),
        at_most("deadband: kernel against memcpy of its state", kernel_us / copy_us, 2.5),
        at_most("deadband: pipeline against memcpy of its state", thin_us / copy_us, 2.5),
        Figure("swinging door with all rules, poll of 10,000 tags: pipeline", door_us, "us"),
        Figure("aperture without rules, poll of 10,000 tags: plain Python objects", plain_door_us, "us"),
        at_least("swinging door with all rules against plain aperture", plain_door_us / door_us, 12),
        at_least(
            "register bytes to rows kept by deadband against plain aperture alone", plain_door_us / chain_thin_us, 30
        ),
        at_least(
            "register bytes to rows kept by swinging door against plain aperture alone",
            plain_door_us / chain_door_us,
            30,
        ),
    ]


def kernel_and_copy(polls: Sequence[Readings]) -> tuple[float, float]:
    """The deadband kernel alone, and a copy of the state it goes over."""
    table = TagTable(Tag("plant", f"t{number}") for number in range(TAGS))
    (step,) = STEPS.validate_python([{"deadband": {"absolute": DEVIATION}}])
    stage = Thin(table, [Use(number, tag, step, step.settings, (step,)) for number, tag in enumerate(table)])
    real, whole, last = (np.ascontiguousarray(array.T) for array in stage.state())
    keep = np.empty(TAGS, np.int64)

    def kernel(poll: Readings) -> None:
        deadband.thin(poll.tag, poll.time_ns, poll.value, poll.quality, stage.slot, real, whole, last, keep)

    copies = [np.empty_like(array) for array in (real, whole, last, stage.slot)]

    def memcpy(_: Readings) -> None:
        for target, source in zip(copies, (real, whole, last, stage.slot), strict=True):
            np.copyto(target, source)

    return median_us(kernel, polls, columns), median_us(memcpy, polls, columns)


def registers_us(polls: Sequence[Readings], step: dict[str, Any]) -> float:
    """From the bytes of holding registers (int16, scale 0.001) to the rows that are kept."""
    pipeline = line(TAGS, step)
    numbers, quality = polls[0].tag, polls[0].quality
    native = np.empty(TAGS, np.int16)

    def chain(answer: tuple[int, bytearray]) -> Readings:
        np.copyto(native, np.frombuffer(answer[1], ">i2"))
        return pipeline.process(Readings(numbers, np.full(TAGS, answer[0], np.int64), native / 1000.0, quality))

    def answer(poll: Readings) -> tuple[int, bytearray]:
        return int(poll.time_ns[0]), bytearray(np.rint(poll.value * 1000).astype(">i2").tobytes())

    return median_us(chain, polls, answer)


def polls_of_few_tags() -> list[Figure]:
    """Against plain objects that take and give the same columns."""
    figures = []
    for tags in (1, 3, 10):
        polls = plant(tags, 2000)
        for name, step, kind in (
            ("deadband", {"deadband": {"absolute": DEVIATION}}, Deadband),
            ("swinging door", {"swinging-door": {"deviation": DEVIATION}}, Aperture),
        ):
            filters: dict[int, Filter] = {number: kind(DEVIATION) for number in range(tags)}
            pipeline = line(tags, step)
            plain = median_us(partial(plain_columns, filters), polls, columns)
            own = median_us(pipeline.process, polls, columns)
            figures.append(
                at_least(f"{name}, poll of {tags} tags: pipeline ({own:.1f} us) against plain Python", plain / own, 1)
            )
    return figures


def plain_columns(filters: dict[int, Filter], poll: Readings) -> Readings:
    return columns_of(through(filters, objects(poll)))


def columns_of(kept: Sequence[Reading]) -> Readings:
    return Readings(
        np.array([reading.tag for reading in kept], np.uint32),
        np.array([reading.time_ns for reading in kept], np.int64),
        np.array([reading.value for reading in kept], np.float64),
        np.array([reading.quality for reading in kept], np.uint8),
    )


def points_kept() -> list[Figure]:
    """Every real series at 1, 2 and 5 % of its span and at 3 sigma."""
    found = {name: strictly_rising(series) for name, series in real_series().items()}
    if not found:
        print(ABSENT, file=sys.stderr)
        return []
    rows = {"1 %": Counted(), "2 %": Counted(), "5 %": Counted(), "3 sigma": Counted()}
    everything = Counted()
    for series in found.values():
        span = float(np.ptp(series[1])) or 1.0
        deviations = {"1 %": 0.01 * span, "2 %": 0.02 * span, "5 %": 0.05 * span, "3 sigma": three_sigma(series[1])}
        for name, deviation in deviations.items():
            for counted in (rows[name], everything):
                counted.add(series, deviation)
    figures = []
    for name, counted in rows.items():
        figures += [
            Figure(f"kept at {name}", 100 * counted.kept / counted.all, "%"),
            Figure(f"kept at {name} by the optimum", 100 * counted.fewest / counted.all, "%"),
        ]
    return [
        *figures,
        at_most("kept against the optimum: total", everything.kept / everything.fewest, 1.25),
        at_most("kept against the optimum: median series", float(np.median(everything.ratios)), 1.5),
        at_most("kept against the optimum: worst series (optimum >= 20)", max(everything.ratios), 2.5),
        at_most(
            "kept against aperture at 3 sigma: mean series", float(np.mean(rows["3 sigma"].against_aperture)), 0.65
        ),
        at_most("largest error over the deviation", everything.worst, 1 + 1e-9),
    ]


class Counted:
    """Sums over series."""

    def __init__(self) -> None:
        self.all = self.kept = self.fewest = 0
        self.worst = 0.0
        self.ratios: list[float] = []
        self.against_aperture: list[float] = []

    def add(self, series: Series, deviation: float) -> None:
        kept = swing(series, deviation)
        fewest = optimum(*series, deviation, YEARS)
        self.all += series[0].size
        self.kept += kept[0].size
        self.fewest += fewest
        self.worst = max(self.worst, worst_error(series, kept) / deviation)
        aperture = Aperture(deviation)
        times, values = (column.tolist() for column in series)
        plain = sum(aperture.feed(Reading(0, t, v, 0)) is not None for t, v in zip(times, values, strict=True))
        if fewest >= 20:
            self.ratios.append(kept[0].size / fewest)
            self.against_aperture.append(kept[0].size / (plain + 1))


def swing(series: Series, deviation: float) -> Series:
    """What the pipeline keeps of a series."""
    pipeline = line(1, {"swinging-door": {"deviation": deviation, "max_interval": "3650d"}})
    rows = series[0].size
    poll = Readings(np.zeros(rows, np.uint32), *series, np.zeros(rows, np.uint8))
    kept = Readings.join([pipeline.process(poll), pipeline.flush()])
    return kept.time_ns, kept.value


START = """
import json, sys, time
from gateway.pipeline.cache import prepare_cache
from gateway.pipeline.warm import warm
cache = prepare_cache()
started = time.perf_counter()
import numba
loaded = time.perf_counter()
report = warm(cache)
ready = time.perf_counter()
from tests.bench.bench_kernels import line, plant
pipeline = line(1000, {"swinging-door": {"deviation": 1.0}})
longest = 0.0
for poll in plant(1000, 50):
    begun = time.perf_counter()
    pipeline.process(poll)
    longest = max(longest, time.perf_counter() - begun)
print(json.dumps({"numba": loaded - started, "warm": ready - loaded, "compiled": report.compiled, "longest": longest}))
"""


def start() -> list[Figure]:
    """A cold and a warm start, each a process of its own."""
    with tempfile.TemporaryDirectory() as place:
        environment = {"CACHE_DIRECTORY": place, "PYTHONPATH": ":".join([str(Path.cwd()), *sys.path])}
        cold, *warmed = (
            json.loads(
                subprocess.run(
                    [sys.executable, "-c", START], env=environment, check=True, stdout=subprocess.PIPE
                ).stdout
            )
            for _ in range(4)
        )
    best = min(warmed, key=lambda run: float(run["warm"]))
    return [
        Figure("kernels compiled at a cold start", cold["compiled"], ""),
        Figure("cold compile of all kernels", cold["warm"], "s"),
        Figure("import of numba", best["numba"], "s"),
        at_most("kernels compiled at a warm start", best["compiled"], 0, ""),
        at_most("warm load of all kernels", best["warm"], 0.3, "s"),
        at_most("longest of the first 50 polls after it", 1000 * best["longest"], 20, "ms"),
    ]


def table(figures: Sequence[Figure]) -> str:
    """Aligned lines: figure, value, target, whether it is met."""
    width = max(len(figure.name) for figure in figures)
    return "\n".join(
        f"{figure.name:{width}}  {figure.value:10.3g} {figure.unit:3} {figure.target:12}"
        f" {'' if figure.met is None else 'yes' if figure.met else 'NO'}".rstrip()
        for figure in figures
    )


def main() -> int:
    """Run all, print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = [*polls_of_many_tags(), *polls_of_few_tags(), *points_kept(), *start()]
    report = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "figures": [asdict(f) for f in figures],
    }
    print(table(figures))
    print(json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
