"""Scorer of the Numenta Anomaly Benchmark, standard profile, for whatever series a folder holds.

    python tests/bench/nab.py DATA_DIR [--detector anomaly|gaussian|none] [--scores DIR]

DATA_DIR holds `data/**/*.csv` (timestamp,value) and `labels/combined_windows.json`. `--scores` reads finished scores
instead of running a detector: DIR mirrors `data/`, the score is the last column.

Rules (Ahmad, Lavin, Purdy, Agha 2017): the first 15 % of a series (at most 750 rows) is probation and not judged. A
window counts its best detection, worth up to 1 at its left edge; a window without one costs 1. A detection outside
costs 0.11 times a sigmoid of its distance from the window before it, measured in window widths. One threshold, the
best, holds for all series. 0 is no detection at all, 100 every window at its left edge and nothing else.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
Detector = Callable[[NDArray[np.int64], Column], Column]

FALSE_POSITIVE: Final = 0.11
MISSED: Final = 1.0
PROBATION: Final = 0.15
PROBATION_ROWS: Final = 5000  # longer series have no longer probation than this many rows would
DIGITS: Final = 12  # the benchmark writes and compares scores with this many
OUTSIDE: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One recording: rows in file order, and the first and last time of each labelled window."""

    name: str
    time_ns: NDArray[np.int64]
    value: Column
    windows: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The rows after probation: what a detection at each is worth, and the window it lies in (OUTSIDE: none)."""

    worth: Column
    window: NDArray[np.int64]
    probation: int


@dataclass(frozen=True, slots=True)
class Result:
    """The score, the threshold it is reached at, windows found of windows there, and detections outside."""

    score: float
    threshold: float
    found: int
    windows: int
    outside: int


def parse_time(text: str) -> int:
    """ISO 8601 without a zone, taken as UTC, in ns."""
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1_000


def load(folder: Path) -> list[Series]:
    """Every labelled series that is there, sorted by name."""
    labels: Mapping[str, Sequence[tuple[str, str]]] = json.loads(
        (folder / "labels" / "combined_windows.json").read_text(encoding="utf-8")
    )
    found = []
    for name in sorted(labels):
        path = folder / "data" / name
        if not path.exists():
            continue
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))[1:]
        found.append(
            Series(
                name,
                np.fromiter((parse_time(row[0]) for row in rows), np.int64, len(rows)),
                np.fromiter((float(row[1]) for row in rows), np.float64, len(rows)),
                tuple((parse_time(first), parse_time(last)) for first, last in labels[name]),
            )
        )
    return found


def probation_rows(rows: int) -> int:
    """How many rows at the start of a series are not judged."""
    return math.ceil(min(math.floor(PROBATION * rows), PROBATION * PROBATION_ROWS))


def scaled_sigmoid(position: float) -> float:
    """Worth by position in window widths from the right edge: -1 is the left edge, above 0 is behind the window."""
    return -1.0 if position >= 3.0 else 2.0 / (1.0 + math.exp(5.0 * position)) - 1.0


def judge(series: Series) -> Judged:
    """What each row of a series is worth as a detection."""
    times = series.time_ns.tolist()
    worth = np.empty(len(times), np.float64)
    window = np.full(len(times), OUTSIDE, np.int64)
    full = scaled_sigmoid(-1.0)
    waiting = list(enumerate(series.windows))
    inside: tuple[int, int, float] | None = None  # number, index of the right edge, width in rows
    behind: tuple[int, float] | None = None  # right edge and width of the window passed last
    for row, time_ns in enumerate(times):
        if waiting and time_ns == waiting[0][1][0]:
            number, (first, last) = waiting.pop(0)
            right = times.index(last)
            inside = number, right, float(right - times.index(first) + 1)
        if inside is not None:
            number, right, width = inside
            window[row] = number
            worth[row] = scaled_sigmoid(-(right - row + 1) / width) / full
            if time_ns == series.windows[number][1]:
                inside, behind = None, (row, width)
        elif behind is None:
            worth[row] = -FALSE_POSITIVE
        else:
            worth[row] = FALSE_POSITIVE * scaled_sigmoid((row - behind[0]) / max(behind[1] - 1.0, 1.0))
    return Judged(worth, window, probation_rows(len(times)))


def score(judged: Iterable[Judged], scores: Iterable[Column], windows: int) -> Result:
    """Sweep one threshold over all series; `windows` is how many are labelled, judged or not.

    A score that is NaN is no detection at any threshold.
    """
    worths, numbers, values, offset = [], [], [], 0
    for rows, column in zip(judged, scores, strict=True):
        kept = slice(rows.probation, None)
        worths.append(rows.worth[kept])
        numbers.append(np.where(rows.window[kept] == OUTSIDE, OUTSIDE, rows.window[kept] + offset))
        values.append(np.round(column[kept], DIGITS))
        offset += int(rows.window.max(initial=OUTSIDE)) + 1
    worth, number, value = np.concatenate(worths), np.concatenate(numbers), np.concatenate(values)
    present = np.unique(number[number != OUTSIDE])
    order = np.argsort(-value[np.isfinite(value)], kind="stable")
    order = np.flatnonzero(np.isfinite(value))[order]
    worth, number, value = worth[order], number[order], value[order]
    gain = np.where(number == OUTSIDE, worth, 0.0)
    first = np.zeros(len(value), np.int64)
    for label in np.unique(number[number != OUTSIDE]):
        rows_in = np.flatnonzero(number == label)
        best = np.maximum.accumulate(np.maximum(worth[rows_in], -MISSED))
        gain[rows_in] = np.diff(best, prepend=-MISSED)
        first[rows_in[0]] = 1
    nothing = -MISSED * len(present)
    if not len(value):
        return Result(0.0, math.inf, 0, windows, 0)
    totals = nothing + np.cumsum(gain)
    last_of_tie = np.append(np.flatnonzero(np.diff(value)), len(value) - 1)
    top = last_of_tie[np.argmax(totals[last_of_tie])]
    if totals[top] <= nothing or windows == 0:
        return Result(0.0, math.inf, 0, windows, 0)
    outside = int(np.count_nonzero(number[: top + 1] == OUTSIDE))
    reached = 100.0 * (float(totals[top]) - nothing) / (windows - nothing)
    return Result(reached, float(value[top]), int(first[: top + 1].sum()), windows, outside)


def windowed_gaussian(time_ns: NDArray[np.int64], value: Column, window: int = 6400, step: int = 100) -> Column:
    """The benchmark's reference detector: 1 minus the normal tail beyond a value, from the last `window` values.

    The window grows row by row until it is full and then moves on by `step` rows at once.
    """
    del time_ns
    out = np.zeros(len(value), np.float64)
    mean, deviation = 0.0, 1.0
    for row in range(len(value)):
        if row > 0:
            distance = abs(float(value[row]) - mean) / deviation
            out[row] = 1.0 - 0.5 * math.erfc(distance / math.sqrt(2.0))
        if row < window:
            held = value[: row + 1]
        elif (row - window + 1) % step == 0:
            held = value[row + 1 - window : row + 1]
        else:
            continue
        mean, deviation = float(np.mean(held)), float(np.std(held)) or 1e-6
    return out


def silent(time_ns: NDArray[np.int64], value: Column) -> Column:
    """A detector that never says anything; the benchmark's baseline."""
    del time_ns
    return np.full(len(value), np.nan)


def streaming(time_ns: NDArray[np.int64], value: Column) -> Column:
    """The gateway's own anomaly step on one tag."""
    from gateway.pipeline.kernels import anomaly  # noqa: PLC0415  # the scorer itself needs no compiler

    return anomaly.score_series(time_ns, value)


DETECTORS: Final[Mapping[str, Detector]] = {"anomaly": streaming, "gaussian": windowed_gaussian, "none": silent}


def evaluate(folder: Path, detector: Detector) -> Result:
    """The score of a detector over every series of a folder."""
    found = load(folder)
    judged = [judge(series) for series in found]
    columns = [detector(series.time_ns, series.value) for series in found]
    return score(judged, columns, sum(len(series.windows) for series in found))


def _finished(folder: Path, found: Sequence[Series]) -> list[Column]:
    columns = []
    for series in found:
        with (folder / series.name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))[1:]
        columns.append(np.fromiter((float(row[-1]) for row in rows), np.float64, len(rows)))
    return columns


def main() -> None:
    """Print the score of one detector."""
    parser = argparse.ArgumentParser(description="Score a detector by the NAB standard profile.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", choices=sorted(DETECTORS), default="anomaly")
    parser.add_argument("--scores", type=Path)
    arguments = parser.parse_args()
    found = load(arguments.folder)
    judged = [judge(series) for series in found]
    columns = (
        _finished(arguments.scores, found)
        if arguments.scores
        else [DETECTORS[arguments.detector](series.time_ns, series.value) for series in found]
    )
    result = score(judged, columns, sum(len(series.windows) for series in found))
    print(
        f"{result.score:.2f}  ({len(found)} series, {result.found} of {result.windows} windows found, "
        f"{result.outside} detections outside, threshold {result.threshold:.12g})"
    )


if __name__ == "__main__":
    main()
