"""The anomaly step: ns per reading in the batch kernel, and the NAB score with its spread over parameter neighbours.

python -m tests.bench.bench_anomaly [--data DIR] [--neighbours 81] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from gateway.pipeline.kernels import anomaly
from gateway.readings import Readings
from tests.bench import nab
from tests.bench.bench_kernels import Figure, table
from tests.bench.spread import neighbours

DATA = Path(__file__).parents[3] / "shared" / "data" / "nab"
GATE, STRETCH = 65.0, 70.0
MOST_NS = 1000.0
REPEATS = 15


def batch_ns(tags: int, polls: int) -> float:
    """Nanoseconds per reading of polls that bring every tag once, the best of some repeats."""
    rng = np.random.default_rng(1)
    rows = Readings(
        np.arange(tags, dtype=np.uint32), np.zeros(tags, np.int64), np.zeros(tags), np.zeros(tags, np.uint8)
    )
    slot, parameter, state = np.arange(tags, dtype=np.int32), anomaly.parameters(), anomaly.fresh(tags)
    scored, out, quality = np.empty(tags, np.int64), np.empty(tags), np.empty(tags, np.uint8)
    values = rng.normal(size=(polls, tags))
    best = math.inf
    for _ in range(REPEATS):
        started = time.perf_counter_ns()
        for value in values:
            anomaly.score(rows.tag, rows.time_ns, value, rows.quality, slot, parameter, state, scored, out, quality)
        best = min(best, (time.perf_counter_ns() - started) / (polls * tags))
    return best


def series_ns() -> float:
    """Nanoseconds per reading of one tag's long recording, the best of some repeats."""
    value = np.cumsum(np.random.default_rng(1).normal(size=100_000))
    time_ns = np.arange(100_000, dtype=np.int64) * 300_000_000_000
    best = math.inf
    for _ in range(REPEATS):
        started = time.perf_counter_ns()
        anomaly.score_series(time_ns, value)
        best = min(best, (time.perf_counter_ns() - started) / len(value))
    return best


def speed() -> list[Figure]:
    """What a reading costs; every kernel is called once before."""
    anomaly.score_series(np.zeros(1, np.int64), np.zeros(1))
    found = [
        ("anomaly, one tag, long series", series_ns()),
        ("anomaly, poll of 1,000 tags", batch_ns(1_000, 300)),
        ("anomaly, poll of 10,000 tags", batch_ns(10_000, 30)),
    ]
    return [Figure(f"{name}, per reading", value, "ns", f"<= {MOST_NS:g}", value <= MOST_NS) for name, value in found]


def accuracy(folder: Path, count: int) -> list[Figure]:
    """The scores over whatever series the folder holds, one threshold for all."""
    found = nab.load(folder)
    judged = [nab.judge(each) for each in found]
    windows = sum(len(each.windows) for each in found)

    def reached(detector: nab.Detector) -> float:
        return nab.score(judged, [detector(each.time_ns, each.value) for each in found], windows).score

    own = reached(anomaly.score_series)
    around = sorted(
        reached(lambda time_ns, value, moved=moved: anomaly.score_series(time_ns, value, moved))  # type: ignore[misc]
        for moved in neighbours(count)
    )
    middle = statistics.median(around)
    what = f"NAB score over {len(found)} series"
    return [
        Figure(f"{what}, anomaly step", own, "", f">= {GATE:g}", own >= GATE),
        Figure(f"{what}, median of {count} parameter neighbours", middle, "", f">= {STRETCH:g}", middle >= STRETCH),
        Figure(f"{what}, worst neighbour", around[0], ""),
        Figure(f"{what}, lowest tenth of neighbours", around[count // 10], ""),
        Figure(f"{what}, best neighbour", around[-1], ""),
        Figure(f"{what}, windowed Gaussian (39.65 over all 58)", reached(nab.windowed_gaussian), ""),
        Figure(f"{what}, no detections", reached(nab.silent), "", "== 0", reached(nab.silent) == 0.0),
    ]


def main() -> int:
    """Run all, print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--neighbours", type=int, default=81)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = speed()
    if options.data.exists():
        figures += accuracy(options.data, options.neighbours)
    else:
        print(f"REAL DATA MISSING: no series below {options.data}, no score", file=sys.stderr)
    report = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "figures": [asdict(figure) for figure in figures],
    }
    print(table(figures))
    print(json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
