"""Anomaly scores of streams: how long ago a tag was last where it is now, quiet after an alarm, constant memory.

    reading -> 5 features -> bin of each -> longest absence (surprise, nats) -> minus its fading past -> 0..1

Features: the value, its mean over about 8 and about 40 rows, its distance from what this half hour of the day is used
to, and the width of the recent band. Each is placed in 64 bins over its own slow mean and deviation. A bin that was
never visited, or not for longer than MEMORY rows, is the greatest surprise; one that was visited a moment ago is
none. Most of what the surprise reached lately is subtracted, so that an episode speaks once, and again only when it
gets worse; what is left counts more the farther off the tag's known places it happened. Nothing is trained, nothing
looks ahead, the state of a tag is one row of WIDTH numbers. Times matter for the half hours alone: gaps and steps of
the clock change no memory.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel
from gateway.readings import BAD, Quality, QualityColumn, TagColumn, TimeColumn, ValueColumn

FEATURES: Final = 5
BINS: Final = 64
SEASONS: Final = 48  # half hours of the UTC day
WARM_UP: Final = 100  # rows of a tag that score 0 and are marked uncertain/stale
SETTLED: Final = 20  # rows that visit no bin: mean and deviation mean little yet
LISTENING: Final = 60  # rows after which surprise counts as past, so that the warm-up ends without an alarm

# Offsets into a tag's row of state.
ROWS, DAMPING, SHORT, LONG, HIGH, LOW, TIME = 0, 1, 2, 3, 4, 5, 6
BAD_CODE, BAD_TIME = 7, 8  # of the bad run that lasts, 0 where none does
MEAN: Final = 9
VARIANCE: Final = MEAN + FEATURES
SEASON: Final = VARIANCE + FEATURES  # mean and number of rows of each half hour
VISIT: Final = SEASON + 2 * SEASONS  # number of the row that last visited each bin of each feature, 0 for none
WIDTH: Final = VISIT + FEATURES * BINS

# Chosen in the middle of a wide plateau; tests/bench/bench_anomaly.py prints the spread around it.
PARAMETERS: Final = 13
RESOLUTION, SHORT_ROWS, LONG_ROWS, CLOSING, SEASON_RATE, SEASON_SECONDS = 0, 1, 2, 3, 4, 5
MEMORY, NOVELTY, DAMPED, HALF_LIFE_ROWS, NEAR, FAR, COMPRESSION = 6, 7, 8, 9, 10, 11, 12
USUAL: Final = (
    2.0,  # bins per standard deviation
    8.0,
    40.0,
    0.01,  # share by which the recent band closes each row
    0.1,  # weight of a reading in its half hour's mean: at most
    3000.0,  # ... and its share of this time, so that fast polls average over days too
    12_800.0,  # rows after which a bin counts as never visited, and the longest memory of mean and deviation
    5.0,  # nats a bin never visited has more than one not visited for half the memory, about
    0.9,  # share of the past surprise that is subtracted
    200.0,  # shortest half-life of the past surprise; else the tag's age, at most MEMORY
    4.0,  # bins within which a new place is near a known one
    2.0,  # nats for each factor e in the distance beyond that
    10.0,  # score = news / (COMPRESSION + news): never saturates, so the order of great surprises stays
)

_FARTHEST: Final = 1e150  # values beyond count as this one, so that squares stay finite
_BAD: Final = int(BAD)
_BAD_DECODE: Final = int(Quality.BAD_DECODE)
_STALE: Final = int(Quality.UNCERTAIN_STALE)
_BAD_NS: Final = 60_000_000_000
_HALF_HOUR_NS: Final = 1_800_000_000_000
_LN2: Final = math.log(2.0)


def parameters() -> NDArray[np.float64]:
    """The parameters in use, f8[PARAMETERS]."""
    return np.array(USUAL, np.float64)


def fresh(slots: int) -> NDArray[np.float64]:
    """State f8[slots, WIDTH] of tags that never had a reading."""
    return np.zeros((slots, WIDTH), np.float64)


@kernel
def _distance(state: NDArray[np.float64], first: int, visit: int, oldest: float) -> float:
    """How many bins off the nearest one lies that was visited after row `oldest`; BINS where there is none."""
    away = 1
    while away < BINS:
        below, above = visit - away, visit + away
        if (below >= first and state[below] > oldest) or (above < first + BINS and state[above] > oldest):
            break
        away += 1
    return float(away)


@kernel
def score(
    tag: TagColumn,
    time_ns: TimeColumn,
    value: ValueColumn,
    quality: QualityColumn,
    slot: NDArray[np.int32],
    parameter: NDArray[np.float64],
    state: NDArray[np.float64],
    scored: NDArray[np.int64],
    out: NDArray[np.float64],
    out_quality: NDArray[np.uint8],
) -> int:
    """Score every row whose tag has a slot: its index to scored[n], its score to out[n]; returns how many.

    A bad row or a value that is not finite scores NaN with a bad quality and teaches nothing; of a bad run the first
    row is scored, each change of its quality and one row a minute. The first WARM_UP rows of a tag score 0,
    uncertain/stale; later ones go with the row's own quality.
    """
    short_share, long_share = 1.0 / parameter[SHORT_ROWS], 1.0 / parameter[LONG_ROWS]
    memory, closing = parameter[MEMORY], parameter[CLOSING]
    unknown = math.exp(-parameter[NOVELTY])
    feature = np.empty(FEATURES, np.float64)
    count = 0
    for row in range(tag.size):
        at = slot[tag[row]]
        if at < 0:
            continue
        scored[count] = row
        v, t, code = value[row], time_ns[row], quality[row]
        s = state[at]
        if code & _BAD or not math.isfinite(v):
            code = code if code & _BAD else _BAD_DECODE
            if s[BAD_CODE] != code or not 0.0 <= t - s[BAD_TIME] < _BAD_NS:
                s[BAD_CODE], s[BAD_TIME] = code, t
                out[count] = np.nan
                out_quality[count] = code
                count += 1
            continue
        s[BAD_CODE] = 0.0
        rows = s[ROWS] + 1.0
        s[ROWS] = rows
        share = 1.0 / rows
        v = min(max(v, -_FARTHEST), _FARTHEST)
        if rows == 1.0:
            s[SHORT] = s[LONG] = s[HIGH] = s[LOW] = v
            s[TIME] = t
        elif rows > WARM_UP and s[VARIANCE] > 0.0:
            reach = BINS / 2.0 / parameter[RESOLUTION] * math.sqrt(s[VARIANCE])
            v = min(max(v, s[MEAN] - reach), s[MEAN] + reach)
        s[SHORT] += (v - s[SHORT]) * max(short_share, share)
        s[LONG] += (v - s[LONG]) * max(long_share, share)
        s[HIGH] = max(v, s[HIGH] - (s[HIGH] - s[LOW]) * closing)
        s[LOW] = min(v, s[LOW] + (s[HIGH] - s[LOW]) * closing)
        season = SEASON + 2 * ((t // _HALF_HOUR_NS) % SEASONS)
        seen = s[season + 1] + 1.0
        s[season + 1] = seen
        if seen == 1.0:
            s[season] = v
        seasonal = v - s[season]
        elapsed = min((t - s[TIME]) * 1e-9 / parameter[SEASON_SECONDS], parameter[SEASON_RATE])
        s[season] += seasonal * max(elapsed, 1.0 / seen)
        s[TIME] = t
        feature[0] = v
        feature[1] = s[SHORT]
        feature[2] = s[LONG]
        feature[3] = seasonal
        feature[4] = s[HIGH] - s[LOW]
        age = min(rows, memory)
        rate = max(1.0 / memory, share)
        absence, away = 0.0, 1.0
        for k in range(FEATURES):
            if rows == 1.0:
                s[MEAN + k] = feature[k]
            distance = feature[k] - s[MEAN + k]
            variance = s[VARIANCE + k]
            place = BINS / 2.0
            if variance > 0.0:
                place += parameter[RESOLUTION] * distance / math.sqrt(variance)
            elif distance != 0.0:
                place += math.copysign(BINS, distance)
            visit = VISIT + k * BINS + int(min(max(place, 0.0), BINS - 1.0))
            gone = min(rows - s[visit], age) if s[visit] > 0.0 else age
            if gone == age and rows > WARM_UP:
                away = max(away, _distance(s, VISIT + k * BINS, visit, rows - age))
            absence = max(absence, gone)
            if rows > SETTLED:
                s[visit] = rows
            s[MEAN + k] += rate * distance
            s[VARIANCE + k] = (1.0 - rate) * (variance + rate * distance * distance)
        surprise = 0.0
        if rows > LISTENING:
            surprise = math.log(absence / (1.0 - (absence - 1.0) / (age - 1.0) + unknown))
        news = max(surprise - parameter[DAMPED] * s[DAMPING], 0.0)
        if news > 0.0:
            news += parameter[FAR] * max(math.log(away / parameter[NEAR]), 0.0)
        half_life = max(age, parameter[HALF_LIFE_ROWS])
        s[DAMPING] = max(s[DAMPING] * math.exp(-_LN2 / half_life), surprise)
        out[count] = news / (parameter[COMPRESSION] + news) if rows > WARM_UP else 0.0
        out_quality[count] = code if rows > WARM_UP else _STALE
        count += 1
    return count


def score_series(
    time_ns: TimeColumn, value: ValueColumn, parameter: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Scores of one tag's readings, all of good quality, from a fresh state."""
    rows = len(value)
    scored, out, out_quality = np.empty(rows, np.int64), np.empty(rows), np.empty(rows, np.uint8)
    score(
        np.zeros(rows, np.uint32),
        time_ns,
        value,
        np.zeros(rows, np.uint8),
        np.zeros(1, np.int32),
        parameters() if parameter is None else parameter,
        fresh(1),
        scored,
        out,
        out_quality,
    )
    return out
