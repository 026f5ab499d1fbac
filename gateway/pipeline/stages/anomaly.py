"""Anomaly: a score for every reading, as a tag of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.pipeline.kernels import anomaly as kernels
from gateway.pipeline.stages.stage import Stage, Use
from gateway.readings import Readings, TagTable


class Anomaly(Stage):
    """Scores stand behind their readings, with the same time; uncertain/stale while a tag warms up."""

    def __init__(self, table: TagTable, uses: Sequence[Use]) -> None:
        super().__init__(table, uses)
        self._state = kernels.fresh(len(uses))
        self._parameters = kernels.parameters()
        self._outputs = np.array([table.index(f"{use.tag.full_name}.anomaly") for use in uses], np.uint32)

    def __call__(self, readings: Readings) -> Readings:
        """The rows and the scores."""
        rows = readings.tag.size
        scored, score, quality = np.empty(rows, np.int64), np.empty(rows), np.empty(rows, np.uint8)
        count = kernels.score(
            readings.tag,
            readings.time_ns,
            readings.value,
            readings.quality,
            self.slot,
            self._parameters,
            self._state,
            scored,
            score,
            quality,
        )
        chosen = scored[:count]
        tags = self._outputs[self.slot[readings.tag[chosen]]]
        return Readings.join([readings, Readings(tags, readings.time_ns[chosen], score[:count], quality[:count])])

    def state(self) -> Sequence[NDArray[Any]]:
        """What each tag's past looked like."""
        return (self._state,)
