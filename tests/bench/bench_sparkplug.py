"""Sparkplug DATA: metrics encoded per second, beside protobuf's own encoder over the same rows.

python -m tests.bench.bench_sparkplug [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gateway.readings import Readings, Tag, TagTable
from gateway.upstream.sparkplug import proto as pb
from gateway.upstream.sparkplug.catalog import Catalog
from gateway.upstream.sparkplug.data import bodies

METRICS = 1000
ROUNDS = 200


def seconds(work: Callable[[], object]) -> float:
    """The quietest of some rounds, a call."""
    work()
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(ROUNDS // 5):
            work()
        best = min(best, (time.perf_counter() - started) / (ROUNDS // 5))
    return best


def main() -> None:
    """Print the figures and JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table = TagTable(Tag("press", f"t{number}") for number in range(METRICS))
    catalog = Catalog(table, None)
    tags = np.arange(METRICS, dtype=np.uint32)
    metric = catalog.resolve(table, tags)[tags]
    readings = Readings(
        tags,
        np.full(METRICS, 1_732_258_800_123_000_000, np.int64),
        np.random.default_rng(1).normal(size=METRICS),
        np.zeros(METRICS, np.uint8),
    )
    born = np.zeros(int(metric.max()) + 1, np.int64)

    def ours() -> list[tuple[bytes, int]]:
        return list(bodies(readings, metric, born, catalog, 1 << 20, datatypes=False))

    def protobuf() -> bytes:
        payload = pb.Payload()
        aliases = catalog.columns.alias[metric].tolist()
        times, values = (readings.time_ns // 1_000_000).tolist(), readings.value.tolist()
        for alias, time_ms, value in zip(aliases, times, values, strict=True):
            row = payload.metrics.add()
            row.alias, row.timestamp, row.double_value = alias, time_ms, value
        encoded: bytes = payload.SerializeToString()
        return encoded

    rate, reference = METRICS / seconds(ours), METRICS / seconds(protobuf)
    [(body, count)] = ours()
    figures = {
        "metrics_per_s": rate,
        "protobuf_metrics_per_s": reference,
        "ratio": rate / reference,
        "bytes_per_metric": len(body) / count,
        "met": rate >= 1e6,
    }
    print(f"DATA of {METRICS} metrics: {rate:,.0f} metrics/s, protobuf {reference:,.0f}, {rate / reference:.1f} x")
    print(json.dumps(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
