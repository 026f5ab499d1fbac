"""Waveforms of arrays and of fast tags: gathering them, and their features."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel
from gateway.readings import BAD, QualityColumn, TagColumn, TimeColumn, ValueColumn

WHOLE: Final = 8
# fields of `whole`: samples a waveform has, samples gathered, times of the first and the last, worst quality, the bad
# quality put out last (0: none) and when, how often it is repeated
SIZE, FILL, FIRST, NEWEST, WORST, DOWN, DOWN_TIME, BAD_LONGEST = range(8)
FEATURES: Final = 4
_BAD: Final = int(BAD)
_GAP: Final = 4  # times the mean distance of samples: too long to be one waveform


@kernel
def gather(
    tag: TagColumn,
    time_ns: TimeColumn,
    value: ValueColumn,
    quality: QualityColumn,
    slot: NDArray[np.int32],
    element: NDArray[np.int32],
    whole: NDArray[np.int64],
    samples: NDArray[np.float64],
    done: NDArray[np.int64],
    waves: NDArray[np.float64],
) -> int:
    """Sort rows into samples f8[N, longest]; returns how many waveforms they completed.

    element i4[tags]: the place in an array, -1 for a tag that is sampled by itself. Of each completed one done[:, k]
    tells slot, quality, time of its first and of its last sample; the samples of those that aren't bad follow each
    other in waves. done i8[4, n]; waves hold N + n / (shortest waveform) at least. The elements of an array belong
    together by their common time.
    """
    found = wave = 0
    for row in range(tag.size):
        at = slot[tag[row]]
        if at < 0:
            continue
        t, v, code, place = time_ns[row], value[row], np.int64(quality[row]), element[tag[row]]
        if not math.isfinite(v):
            code |= _BAD
        fill, newest = whole[FILL, at], whole[NEWEST, at]
        if code >= _BAD:
            whole[FILL, at] = 0
            whole[NEWEST, at] = t
            silence = t - whole[DOWN_TIME, at]
            if whole[DOWN, at] == 0 or silence < 0 or silence >= whole[BAD_LONGEST, at]:
                whole[DOWN, at], whole[DOWN_TIME, at] = code, t
                done[0, found], done[1, found], done[2, found], done[3, found] = at, code, t, t
                found += 1
            continue
        if place >= 0:
            if t != newest:
                fill = 0
        elif (fill > 0 and t <= newest) or (fill > 1 and t - newest > _GAP * (newest - whole[FIRST, at]) // (fill - 1)):
            fill = 0
        if fill == 0:
            whole[FIRST, at] = t
            whole[WORST, at] = 0
        samples[at, place if place >= 0 else fill] = v
        whole[NEWEST, at] = t
        whole[WORST, at] = max(whole[WORST, at], code)
        fill += 1
        if fill == whole[SIZE, at]:
            done[0, found], done[1, found] = at, whole[WORST, at]
            done[2, found], done[3, found] = whole[FIRST, at], t
            for number in range(fill):
                waves[wave, number] = samples[at, number]
            whole[DOWN, at] = 0
            wave += 1
            found += 1
            fill = 0
        whole[FILL, at] = fill
    return found


@kernel
def features(wave: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Write RMS, peak, crest factor and kurtosis of a waveform about its mean to out[4]; a constant has 0 in all."""
    mean = 0.0
    for number in range(wave.size):
        mean += wave[number]
    mean /= float(wave.size)
    second = fourth = peak = 0.0
    for number in range(wave.size):
        off = wave[number] - mean
        square = off * off
        second += square
        fourth += square * square
        peak = max(peak, abs(off))
    second /= float(wave.size)
    fourth /= float(wave.size)
    rms = math.sqrt(second)
    out[0] = rms
    out[1] = peak
    out[2] = peak / rms if rms > 0.0 else 0.0
    out[3] = fourth / (second * second) if second > 0.0 else 0.0
