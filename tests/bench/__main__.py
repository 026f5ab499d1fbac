"""Every benchmark one after the other, with a short form of each for the test run.

python -m tests.bench [--short] [NAME...]     names: anomaly codec gateway kernels modbus mqtt opcua page sparkplug
"""

from __future__ import annotations

import argparse
import subprocess
import sys

FULL: dict[str, list[str]] = {
    "kernels": [],
    "codec": [],
    "anomaly": [],
    "modbus": [],
    "mqtt": [],
    "opcua": [],
    "sparkplug": [],
    "gateway": [],
    "page": [],
}
SHORT: dict[str, list[str]] = {
    "modbus": ["--requests", "500", "--seconds", "2"],
    "mqtt": ["--messages", "1000"],
    "sparkplug": [],
    "gateway": ["--seconds", "3", "--only", "steady"],
    "page": ["--seconds", "2", "--turns", "2"],
}


def main() -> int:
    """Run what is asked for; the number of benchmarks that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *FULL], metavar="NAME")
    parser.add_argument("--short", action="store_true")
    arguments = parser.parse_args()
    plan = SHORT if arguments.short else FULL
    failed = 0
    for name in arguments.names or plan:
        print(f"\n== {name} ==", flush=True)
        command = [sys.executable, "-m", f"tests.bench.bench_{name}", *plan.get(name, [])]
        failed += subprocess.run(command, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
