"""Vibration: features of waveforms, as tags of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.pipeline.kernels import vibration as kernels
from gateway.pipeline.settings import BAD_INTERVAL, FEATURES, element
from gateway.pipeline.settings import Vibration as Settings
from gateway.pipeline.stages.stage import NO_ROWS, Stage, Use, nanoseconds
from gateway.readings import BAD, Quality, Readings, TagTable


class Vibration(Stage):
    """A waveform is one answer of an array, or `window` readings of a single tag, and gives one row per feature.

    Its time is that of its last sample, its quality the worst of its samples'. A bad sample spoils the waveform. A
    feature that float64 can't hold is bad/decode.
    """

    def __init__(self, table: TagTable, uses: Sequence[Use]) -> None:
        super().__init__(table, uses)
        self._element = np.full(len(table), -1, np.int32)
        self._waves: list[Use] = []  # by slot, the use that stands for the waveform
        sizes: list[int] = []
        places: dict[str, int] = {}
        for use in uses:
            number = element(use.tag)
            name = use.tag.full_name if number is None else use.tag.full_name.rpartition(".")[0]
            at = places.setdefault(name, len(places))
            if at == len(sizes):
                self._waves.append(use)
                sizes.append(0)
            sizes[at] = use.settings.window if number is None else max(sizes[at], number + 1)
            self.slot[use.index] = at
            self._element[use.index] = -1 if number is None else number
        self._names = list(places)
        self._outputs = [self._features(table, at) for at in range(len(places))]
        self._whole = np.zeros((kernels.WHOLE, len(places)), np.int64)
        self._whole[kernels.SIZE] = sizes
        self._whole[kernels.BAD_LONGEST] = [
            nanoseconds(use.settings.max_interval or BAD_INTERVAL) for use in self._waves
        ]
        self._shortest = min(sizes)
        self._samples = np.zeros((len(places), max(sizes)))
        self._dropped = np.zeros(len(table), np.bool_)
        self._dropped[[use.index for use in uses if not use.settings.raw]] = True
        self._drops = bool(self._dropped.any())

    def _features(self, table: TagTable, at: int) -> NDArray[np.uint32]:
        words = [*FEATURES, *self._waves[at].settings.bands]
        return np.array([table.index(f"{self._names[at]}.{word}") for word in words], np.uint32)

    def __call__(self, readings: Readings) -> Readings:
        """The rows (but those with `raw: false`), and the features of the waveforms they complete."""
        rows = readings.tag.size
        done = np.empty((4, rows), np.int64)
        waves = np.empty((min(rows, rows // self._shortest + len(self._names)), self._samples.shape[1]))
        found = kernels.gather(
            readings.tag,
            readings.time_ns,
            readings.value,
            readings.quality,
            self.slot,
            self._element,
            self._whole,
            self._samples,
            done,
            waves,
        )
        passing = readings.where(~self._dropped[readings.tag]) if self._drops else readings
        if not found:
            return passing
        samples = iter(waves)
        return Readings.join([passing, *(self._row(samples, *done[:, number].tolist()) for number in range(found))])

    def _row(self, samples: Iterator[NDArray[np.float64]], at: int, code: int, first_ns: int, last_ns: int) -> Readings:
        tags = self._outputs[at]
        values = np.full(tags.size, np.nan)
        if code < BAD:
            wave, size = next(samples), int(self._whole[kernels.SIZE, at])
            found = np.empty(kernels.FEATURES)
            kernels.features(wave[:size], found)
            values[: kernels.FEATURES] = found
            settings: Settings = self._waves[at].settings
            if settings.bands:
                rate = settings.sample_rate or (size - 1) * 1e9 / max(last_ns - first_ns, 1)
                values[kernels.FEATURES :] = band_energies(wave[:size], rate, settings.bands)
        quality = np.full(tags.size, code, np.uint8)
        if code < BAD:
            beyond = ~np.isfinite(values)
            values[beyond], quality[beyond] = np.nan, Quality.BAD_DECODE
        return Readings(tags, np.full(tags.size, last_ns, np.int64), values, quality)

    def flush(self, slots: NDArray[np.int64]) -> Readings:
        """Half a waveform is none; they start anew."""
        self._whole[kernels.FILL, slots] = 0
        return NO_ROWS

    def state(self) -> Sequence[NDArray[Any]]:
        """What is gathered of each waveform."""
        return self._whole.T, self._samples

    def adopt(self, other: Stage, mine: NDArray[np.int64], theirs: NDArray[np.int64]) -> None:
        """Take over waveforms; of an array that changed its size, none."""
        sizes = self._whole[kernels.SIZE].copy()
        super().adopt(other, mine, theirs)
        self._whole[kernels.FILL, sizes != self._whole[kernels.SIZE]] = 0
        self._whole[kernels.SIZE] = sizes


def band_energies(wave: NDArray[np.float64], rate: float, bands: Mapping[str, object]) -> NDArray[np.float64]:
    """Mean square of the waveform about its mean within each band, by an FFT with a Hann window."""
    size = wave.size
    taper = np.hanning(size + 1)[:size]
    spectrum = np.fft.rfft((wave - wave.mean()) * taper)
    power = spectrum.real**2 + spectrum.imag**2
    power[1 : (size + 1) // 2] *= 2.0
    power /= size * float(np.sum(taper**2))
    frequencies = np.fft.rfftfreq(size, 1.0 / rate)
    edges: Final = [(band.low, band.high) for band in bands.values()]  # type: ignore[attr-defined]
    return np.array([power[(frequencies >= low) & (frequencies < high)].sum() for low, high in edges])
