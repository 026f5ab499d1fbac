"""The block codec against JSON, Sparkplug and pcodec: bytes a reading and time to encode, on messages and whole series.

python -m tests.bench.bench_codec [--json FILE]
Messages: 400 tags once a second, 20 a request, times with jitter in whole microseconds, values with two decimals;
"kept" is a sixteenth of the readings, picked at random. Series: the real ones of the benchmark's data, where at hand.
pcodec is compared where it is installed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import struct
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import zstandard

from gateway.codec import decode, decode_quickly, encode
from gateway.codec.message import Header, pack
from gateway.codec.texts import write_varint
from gateway.codec.warm import warm
from gateway.readings import Readings
from tests.bench.bench_kernels import Figure, at_least, at_most, table
from tests.bench.series import ABSENT, real_series

TAGS: Final = 400
A_REQUEST: Final = 20
START_NS: Final = 1_732_258_800_000_000_000
SPAN_S: Final = 120
HEADER: Final = Header("0123456789abcdef", "9f2c61", 1042)
ROUNDS: Final = 15


def plant() -> Readings:
    """Everything the plant measures in two minutes."""
    rng = np.random.default_rng(4)
    level = np.cumsum(rng.normal(scale=0.05, size=(SPAN_S, TAGS)), axis=0) + rng.uniform(10, 900, TAGS)
    value = np.round(level + rng.normal(scale=0.1, size=level.shape), 2)
    requests = TAGS // A_REQUEST
    second = START_NS + np.arange(SPAN_S)[:, None] * 10**9
    time_ns = second + np.arange(requests) * 40_000_000 + rng.integers(0, 5000, (SPAN_S, requests)) * 1000
    tag = np.tile(np.arange(TAGS, dtype=np.uint32), SPAN_S)
    return Readings(tag, np.repeat(time_ns, A_REQUEST), value.reshape(-1), np.zeros(tag.size, np.uint8))


def sparkplug(rows: Readings) -> bytes:
    """A Sparkplug data payload: per metric its alias (field 2), timestamp in ms (3) and double value (13)."""
    parts = [b"\x08" + write_varint(int(rows.time_ns[0]) // 10**6)]
    for tag, at, value in zip(rows.tag.tolist(), rows.time_ns.tolist(), rows.value.tolist(), strict=True):
        metric = b"\x10" + write_varint(tag) + b"\x18" + write_varint(at // 10**6) + b"\x69" + struct.pack("<d", value)
        parts.append(b"\x12" + write_varint(len(metric)) + metric)
    return b"".join([*parts, b"\x18\x07"])


def wire_json(rows: Readings) -> bytes:
    """The same as `format: json`."""
    readings = [
        {"tag": f"temperature_{tag}", "time": at // 10**6, "value": value, "quality": "good"}
        for tag, at, value in zip(rows.tag.tolist(), rows.time_ns.tolist(), rows.value.tolist(), strict=True)
    ]
    head = {"gateway": "welding-cell-3", "device": "press", "boot": "9f2c61", "block": 1042}
    return orjson.dumps({**head, "readings": readings})


def packed(data: bytes) -> bytes:
    return min(data, zstandard.ZstdCompressor(level=3).compress(data), key=len)


def ns(call: Callable[[], object], rows: int) -> float:
    """Best time of a call, per reading."""
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - started)
    return min(taken) / rows


def messages() -> list[Figure]:
    everything = plant()
    rng = np.random.default_rng(5)
    sixteenth = np.flatnonzero(rng.random(len(everything)) < 1 / 16)
    found = []
    all_json = len(wire_json(everything.where(slice(0, 3200)))) / 3200
    for name, rows in (
        *((f"{count} kept", everything.where(sixteenth[:count])) for count in (10, 25, 250, 1500)),
        *((f"{count} all", everything.where(slice(0, count))) for count in (400, 3200)),
    ):
        count, block = len(rows), encode(rows)
        ours, theirs, text = len(pack(HEADER, rows)) / count, sparkplug(rows), wire_json(rows)
        with_zstd = len(packed(theirs)) / count
        kept = name.endswith("kept")
        found += [
            Figure(f"{name}: columns message", ours, "B/reading"),
            Figure(f"{name}: sparkplug + zstd", with_zstd, "B/reading"),
            Figure(f"{name}: json + zstd", len(packed(text)) / count, "B/reading"),
            *(
                [
                    at_most(f"{name}: columns / sparkplug", ours * count / len(theirs), 0.5),
                    at_most(f"{name}: columns / (sparkplug + zstd)", ours / with_zstd, 0.65 if kept else 0.4),
                    at_most(f"{name}: columns / json", ours * count / len(text), 0.1 if kept else 0.05),
                ]
                if count > 10
                else []
            ),
            Figure(f"{name}: encode", ns(lambda rows=rows: encode(rows), count), "ns/reading"),  # type: ignore[misc]
            Figure(f"{name}: decode", ns(lambda data=block: decode(data), count), "ns/reading"),  # type: ignore[misc]
            Figure(f"{name}: decode, compiled", ns(lambda data=block: decode_quickly(data), count), "ns/reading"),  # type: ignore[misc]
        ]
        if kept and count > 10:
            found.append(at_most(f"{name}: per raw reading / unfiltered json", ours / 16 / all_json, 0.01))
    return found


def series() -> list[Figure]:
    pcodec = optional("pcodec")
    ours, theirs, text, ours_ns, theirs_ns, short = [], [], [], [], [], []
    for time_ns, value in real_series().values():
        rows = Readings(np.zeros(len(value), np.uint32), time_ns, value, np.zeros(len(value), np.uint8))
        ours.append(len(encode(rows)) / len(rows))
        ours_ns.append(ns(lambda rows=rows: encode(rows), len(rows)))  # type: ignore[misc]
        ten = rows.where(slice(0, 10))
        short.append(len(encode(ten)) / len(packed(in_columns(ten))))
        text.append(len(packed(in_columns(rows))) / len(rows))
        if pcodec is not None:
            theirs.append((len(pco(pcodec, time_ns)) + len(pco(pcodec, value))) / len(rows))
            theirs_ns.append(ns(lambda t=time_ns, v=value: (pco(pcodec, t), pco(pcodec, v)), len(rows)))  # type: ignore[misc]
    found = [
        Figure("series: columns, median", float(np.median(ours)), "B/reading"),
        Figure("series: orjson columns + zstd, median", float(np.median(text)), "B/reading"),
        Figure("series: columns encode, median", float(np.median(ours_ns)), "ns/reading"),
        at_most("10 points: columns / (orjson + zstd), median", float(np.median(short)), 0.5),
    ]
    if theirs:
        ratio, faster = np.array(ours) / np.array(theirs), np.array(theirs_ns) / np.array(ours_ns)
        found += [
            Figure("series: pcodec, median", float(np.median(theirs)), "B/reading"),
            at_most("series: columns / pcodec, median", float(np.median(ratio)), 1.3),
            at_least("series: columns' speed / pcodec's, median", float(np.median(faster)), 4),
        ]
    return found


def in_columns(rows: Readings) -> bytes:
    return orjson.dumps({"time": rows.time_ns // 10**6, "value": rows.value}, option=orjson.OPT_SERIALIZE_NUMPY)


def optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def pco(pcodec: Any, column: Any) -> bytes:
    found: bytes = pcodec.standalone.simple_compress(column, pcodec.ChunkConfig())
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warm()
    found = messages()
    if real_series():
        found += series()
    else:
        print(ABSENT)
    print(table(found))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(figure) for figure in found], indent=2))
    return 0 if all(figure.met is not False for figure in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
