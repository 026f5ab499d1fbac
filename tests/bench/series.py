"""Real sensor series beside the repository, for tests and benchmarks."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tests.bench.optimum import Series

DATA = Path(__file__).parents[3] / "shared" / "data" / "nab" / "data"
ABSENT = f"REAL DATA MISSING: no series below {DATA}, nothing was checked against them"


def real_series() -> dict[str, Series]:
    """All series by name, rows as they stand in the file; empty where there are none."""
    return {path.stem: _read(path) for path in sorted(DATA.glob("*/*.csv"))}


def _read(path: Path) -> Series:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    seconds = [datetime.fromisoformat(row[0]).replace(tzinfo=UTC).timestamp() for row in rows]
    return (np.array(seconds) * 1e9).astype(np.int64), np.array([float(row[1]) for row in rows])
