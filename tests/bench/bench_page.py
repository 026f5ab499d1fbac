"""What an open status page costs: the daemon at 10,000 readings a second, its page's stream open and not, in turns.

python -m tests.bench.bench_page [--seconds 10] [--turns 6]
"""

from __future__ import annotations

import argparse
import http.client
import json
import select
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.bench_gateway import HERE, QUIET_BROKER, configuration
from tests.bench.processes import Daemon, helper, said, usage
from tests.fakes.mosquitto import Mosquitto, free_port

LIMIT_PERCENT = 1.0  # of a core
PAGE = "/api/v1/stream?device=&search=&offset=0&limit=100&trend=1"  # as page.js opens it to show the tags
SETTLE_S = 5.0


@contextmanager
def page(port: int) -> Iterator[None]:
    """A reader of the page's stream in a process of its own, so that its work isn't counted."""
    with helper(__file__, "--read", str(port)) as reader:
        assert said(reader) == "open"
        yield


def read(port: int) -> None:
    """Read the stream until stdin closes; the main thread waits there, a read never holds it up for long."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", PAGE)
    answer = connection.getresponse()
    answer.readline()
    print("open", flush=True)
    while answer.readline():
        if select.select([sys.stdin], [], [], 0)[0]:
            return


def busy_percent(pid: int, seconds: float) -> float:
    """Processor time in percent of a core."""
    start = usage(pid)
    time.sleep(seconds)
    end = usage(pid)
    return 100 * (end.cpu_s - start.cpu_s) / (end.at - start.at)


def main() -> int:
    """Print the figures; 1 where an open page costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--read", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(options.read)
        return 0
    port, without, opened = free_port(), [], []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        broker = stack.enter_context(Mosquitto(folder, QUIET_BROKER))
        server = stack.enter_context(helper(str(HERE / "fast_modbus_server.py")))
        file = configuration(folder, int(said(server)), broker.port, every="1s", in_flight=8)
        file.write_text(file.read_text().replace("listen: none", f'listen: "127.0.0.1:{port}"'))
        daemon = stack.enter_context(Daemon(file))
        time.sleep(SETTLE_S)
        for _ in range(options.turns):
            without.append(busy_percent(daemon.pid, options.seconds))
            with page(port):
                opened.append(busy_percent(daemon.pid, options.seconds))
    cost = statistics.median(after - before for before, after in zip(without, opened, strict=True))
    print("| | without | page open | cost |\n|---|---|---|---|")
    print(f"| % of a core | {statistics.median(without):.2f} | {statistics.median(opened):.2f} | {cost:.2f} |")
    print(json.dumps({"without": without, "open": opened, "cost_percent": round(cost, 2)}))
    return int(cost >= LIMIT_PERCENT)


if __name__ == "__main__":
    sys.exit(main())
