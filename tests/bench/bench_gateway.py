"""End to end: registers of a Modbus TCP server -> daemon -> mosquitto -> a counting subscriber, each its own process.

python -m tests.bench.bench_gateway [--seconds 20] [--only steady,flat,idle,start] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen
from typing import Any

from tests.bench.processes import Daemon, asked, helper, said, usage
from tests.fakes.mosquitto import Mosquitto

HERE = Path(__file__).parent
REGISTERS = 10_000
QUIET_BROKER = ("max_queued_messages 0", "max_inflight_messages 1000", "log_type error")


def configuration(
    folder: Path,
    modbus: int,
    broker: int,
    *,
    every: str,
    registers: int = REGISTERS,
    in_flight: int = 1,
    units: int = 1,
) -> Path:
    """A gateway with one connection."""
    count = f", count: {registers}" if registers > 1 else ""
    devices = "".join(
        f"""
      plc{unit}:
        unit: {unit}
        every: {every}
        max_in_flight: {in_flight}
        tags:
          register: {{address: holding:0, type: uint16{count}, steps: [{{deadband: {{absolute: 2}}}}]}}"""
        for unit in range(1, units + 1)
    )
    text = f"""
gateway: {{name: bench}}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {modbus}
    devices:{devices}
spool: {{path: {folder / "spool.db"}}}
upstreams:
  plant: {{broker: "mqtt://127.0.0.1:{broker}", format: json}}
status: {{listen: none}}
"""
    file = folder / "bench.yaml"
    file.write_text(text)
    return file


def counted(subscriber: Popen[str]) -> tuple[int, int, int, float]:
    """Messages, readings, octets so far; milliseconds to their arrival since the call before (99th percentile)."""
    messages, readings, octets, p99_ms = asked(subscriber).split()
    return int(messages), int(readings), int(octets), float(p99_ms)


def measure(subscriber: Popen[str], daemon: Daemon, seconds: float) -> dict[str, float]:
    """What happens within `seconds`."""
    before, start = counted(subscriber), usage(daemon.pid)
    time.sleep(seconds)
    after, end = counted(subscriber), usage(daemon.pid)
    wall = end.at - start.at
    readings = after[1] - before[1]
    cpu = end.cpu_s - start.cpu_s
    return {
        "readings_per_s": round(readings / wall, 1),
        "messages_per_s": round((after[0] - before[0]) / wall, 1),
        "bytes_per_reading": round((after[2] - before[2]) / max(readings, 1), 1),
        "cpu_percent": round(100 * cpu / wall, 2),
        "us_per_reading": round(1e6 * cpu / max(readings, 1), 2),
        "wakeups_per_s": round((end.wakeups - start.wakeups) / wall, 1),
        "arrival_p99_ms": after[3],
        "rss_mb": round(end.rss_mb, 1),
        "peak_mb": round(end.peak_mb, 1),
    }


def run(seconds: float, settle: float, **options: Any) -> dict[str, float]:
    """One arrangement, measured after `settle` seconds."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        broker = stack.enter_context(Mosquitto(folder, QUIET_BROKER))
        server = stack.enter_context(helper(str(HERE / "fast_modbus_server.py")))
        subscriber = stack.enter_context(helper(str(HERE / "counting_subscriber.py"), str(broker.port)))
        file = configuration(folder, int(said(server)), broker.port, **options)
        assert said(subscriber) == "ready"
        with Daemon(file) as daemon:
            time.sleep(settle)
            return {"ready_s": round(daemon.ready_s, 2), **measure(subscriber, daemon, seconds)}


BENCHES: dict[str, Callable[[float], dict[str, float]]] = {
    "steady": lambda seconds: run(seconds, 5, every="1s"),
    "steady, 8 in flight": lambda seconds: run(seconds, 5, every="1s", in_flight=8),
    "flat out": lambda seconds: run(seconds, 5, every="5ms", in_flight=8),
    "flat out, 1 in flight": lambda seconds: run(seconds, 5, every="5ms"),
    # 200 units of 5 registers: what a poll costs whatever it brings
    "small polls": lambda seconds: run(seconds, 5, every="200ms", registers=5, units=200),
    "idle": lambda seconds: run(max(seconds, 30), 15, every="10s", registers=1),
}


def table(results: dict[str, dict[str, float]]) -> str:
    """The results as a Markdown table."""
    columns = list(next(iter(results.values())))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(f"{row[column]:g}" for column in columns) + " |" for name, row in results.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the chosen benchmarks, print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", help=f"comma separated: {', '.join(BENCHES)}")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else list(BENCHES)
    results: dict[str, dict[str, float]] = {}
    for name in wanted:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results[name] = BENCHES[name](options.seconds)
    report = {"machine": platform.platform(), "python": platform.python_version(), "results": results}
    print(table(results))
    print(json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
