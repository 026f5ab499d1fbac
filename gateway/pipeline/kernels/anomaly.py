"""Anomaly scores of streams: how rare a reading is among its own tag's past, quiet after an alarm, constant memory.

    features of a reading --share of their histogram bin--> surprise (nats) --minus the fading past maximum--> 0..1

Features: the value, its short mean, its distance from what this half hour of the day is used to, and the width of the
recent band. Each is placed in 64 bins over its own slow mean and deviation. The rarest feature decides. What a tag's
surprise reached lately is subtracted, so an episode speaks once, and again only when it gets worse.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

FEATURES = 4
BINS = 64
SEASONS = 48  # half hours of the UTC day
WARM_UP = 100  # rows of a tag that are scored 0 and marked uncertain/stale

# One row of state per tag; the numbers are offsets into it.
ROWS = 0
WEIGHT = 1  # of all rows in the histograms
DAMPING = 2
SHORT = 3
HIGH = 4
LOW = 5
TIME = 6
MEAN = 8
VARIANCE = MEAN + FEATURES
SEASON = VARIANCE + FEATURES
SEEN = SEASON + SEASONS
COUNTS = SEEN + SEASONS
WIDTH = COUNTS + FEATURES * BINS

ALPHA = 0.01  # a bin's count before anything was seen
RESOLUTION = 2.0  # bins per standard deviation
SHORT_ROWS = 8.0
SLOW_ROWS = 6400.0
HALVING = 12800.0
SEASON_RATE = 1.0 / 20.0
BAND_CLOSING = 0.01
HALF_LIFE_SHORTEST = 200.0
HALF_LIFE_LONGEST = 20000.0
COMPRESSION = 10.0
HALF_HOUR_NS = 1_800_000_000_000

_BAD = 0x80
_BAD_DECODE = 0x85
_UNCERTAIN_STALE = 0x46


def new_state(tags: int) -> NDArray[np.float64]:
    """State of tags that never had a reading, one row each."""
    return np.zeros((tags, WIDTH), np.float64)


@njit(cache=True, nogil=True, error_model="numpy")
def score(
    row: NDArray[np.int64],
    time_ns: NDArray[np.int64],
    value: NDArray[np.float64],
    quality: NDArray[np.uint8],
    state: NDArray[np.float64],
    out: NDArray[np.float64],
    out_quality: NDArray[np.uint8],
) -> None:
    """Score readings in order; `row` is each reading's row of `state`. One score in 0..1 per reading.

    Bad readings and values that are not finite score NaN with a bad quality and leave the state as it is. During the
    first WARM_UP readings of a tag the score is 0, uncertain/stale; later the reading's own quality goes along.
    """
    feature = np.empty(FEATURES, np.float64)
    for i in range(len(row)):
        v = value[i]
        if quality[i] & _BAD or not math.isfinite(v):
            out[i] = np.nan
            out_quality[i] = quality[i] if quality[i] & _BAD else _BAD_DECODE
            continue
        s = state[row[i]]
        rows = s[ROWS] + 1.0
        s[ROWS] = rows
        first = rows == 1.0
        if first:
            s[SHORT] = s[HIGH] = s[LOW] = v
        s[SHORT] += (v - s[SHORT]) * max(1.0 / SHORT_ROWS, 1.0 / rows)
        band = s[HIGH] - s[LOW]
        s[HIGH] = max(v, s[HIGH] - band * BAND_CLOSING)
        s[LOW] = min(v, s[LOW] + (s[HIGH] - s[LOW]) * BAND_CLOSING)
        half_hour = (time_ns[i] // HALF_HOUR_NS) % SEASONS
        s[SEEN + half_hour] += 1.0
        if s[SEEN + half_hour] == 1.0:
            s[SEASON + half_hour] = v
        seasonal = v - s[SEASON + half_hour]
        s[SEASON + half_hour] += seasonal * max(SEASON_RATE, 1.0 / s[SEEN + half_hour])
        feature[0] = v
        feature[1] = s[SHORT]
        feature[2] = seasonal
        feature[3] = s[HIGH] - s[LOW]
        rate = max(1.0 / SLOW_ROWS, 1.0 / rows)
        least = np.inf
        for k in range(FEATURES):
            f = feature[k]
            if first:
                s[MEAN + k] = f
            distance = f - s[MEAN + k]
            deviation = math.sqrt(s[VARIANCE + k])
            if deviation > 0.0:
                place = math.floor(RESOLUTION * distance / deviation + BINS / 2)
            elif distance == 0.0:
                place = BINS / 2
            else:
                place = np.inf if distance > 0.0 else -np.inf
            at = COUNTS + k * BINS + int(min(max(place, 0.0), BINS - 1.0))
            least = min(least, s[at])
            s[at] += 1.0
            s[MEAN + k] += rate * distance
            s[VARIANCE + k] = (1.0 - rate) * (s[VARIANCE + k] + rate * distance * distance)
        surprise = 0.0
        if rows > WARM_UP:
            surprise = -math.log((least + ALPHA) / (s[WEIGHT] + BINS * ALPHA))
        s[WEIGHT] += 1.0
        if s[WEIGHT] >= HALVING:
            s[WEIGHT] *= 0.5
            s[COUNTS:] *= 0.5
        news = max(surprise - s[DAMPING], 0.0)
        half_life = min(max(rows, HALF_LIFE_SHORTEST), HALF_LIFE_LONGEST)
        s[DAMPING] = max(s[DAMPING] * 0.5 ** (1.0 / half_life), surprise)
        out[i] = news / (COMPRESSION + news)
        out_quality[i] = quality[i] if rows > WARM_UP else _UNCERTAIN_STALE


def score_series(time_ns: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores of one tag's readings, all of good quality, from a fresh state."""
    rows = len(value)
    out, out_quality = np.empty(rows, np.float64), np.empty(rows, np.uint8)
    score(np.zeros(rows, np.int64), time_ns, value, np.zeros(rows, np.uint8), new_state(1), out, out_quality)
    return out
