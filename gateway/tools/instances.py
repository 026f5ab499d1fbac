"""`python -m gateway.tools.instances FILE...`: what two instances on one machine may not share.

The name is client id and topic, the page's address and the serial ports can be opened once, a spool belongs to one
daemon. Prints one line per conflict and exits 1; 0 where there is none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.config.document import parse
from gateway.runtime.status.settings import OFF, StatusSettings


def claims(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a valid configuration claims for itself alone: (key, value)."""
    yield "gateway.name", str(data["gateway"]["name"])
    listen = str((data.get("status") or {}).get("listen", StatusSettings().listen))
    if listen != OFF and not listen.endswith(":0"):
        yield "status.listen", listen
    spool = (data.get("spool") or {}).get("path")
    if spool:
        yield "spool.path", str(Path(spool).resolve())
    for connection in data["connections"].values():
        port = connection.get("port")
        if isinstance(port, str) and port.startswith("/"):
            yield "serial port", str(Path(port).resolve())  # /dev/serial/by-id/... is a link


def conflicts(files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One sentence for each thing that two of the named configurations claim."""
    owners: dict[tuple[str, str], list[str]] = {}
    for name, data in files.items():
        for claim in dict.fromkeys(claims(data)):
            owners.setdefault(claim, []).append(name)
    return [
        f"{key} {value} stands in {' and '.join(names)}" for (key, value), names in owners.items() if len(names) > 1
    ]


def main(files: Sequence[str]) -> int:
    """Compare configurations that `gateway check` has found valid."""
    found = conflicts({file: parse(Path(file).read_text(encoding="utf-8")).data for file in files})
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
