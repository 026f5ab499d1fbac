"""The newest reading of every tag, by tag index: what births, the status page and derived values look at."""

from __future__ import annotations

import numpy as np

from gateway.readings import Quality, Readings, TagTable


class Latest:
    """Columns indexed by tag; a tag that never had a reading is NaN, bad/stale, time 0."""

    def __init__(self, table: TagTable) -> None:
        rows = len(table)
        self.value = np.full(rows, np.nan, np.float64)
        self.time_ns = np.zeros(rows, np.int64)
        self.quality = np.full(rows, Quality.BAD_STALE, np.uint8)
        self._texts: dict[int, str] = {}

    def update(self, readings: Readings) -> None:
        """Take over a poll; of several rows of one tag the last one stays."""
        rows = readings.tag.astype(np.intp)  # numpy's own index type: any other is converted at each use, dearly
        self.value[rows] = readings.value
        self.time_ns[rows] = readings.time_ns
        self.quality[rows] = readings.quality
        if readings.texts:
            for tag, value in zip(readings.tag.tolist(), readings.value.tolist(), strict=True):
                text = readings.texts.get(int(value)) if value == value else None  # noqa: PLR0124  # NaN has no text
                if text is not None:
                    self._texts[tag] = text

    def text(self, tag: int) -> str | None:
        """The newest text of a text tag."""
        return self._texts.get(tag)

    def use_table(self, table: TagTable) -> None:
        """The table after a reload: room for the tags it added; those it retired have no newest reading any more."""
        more = len(table) - len(self.value)
        self.value = np.append(self.value, np.full(more, np.nan, np.float64))
        self.time_ns = np.append(self.time_ns, np.zeros(more, np.int64))
        self.quality = np.append(self.quality, np.full(more, Quality.BAD_STALE, np.uint8))
        left = [index for index, tag in enumerate(table) if tag.retired]
        self.value[left], self.time_ns[left], self.quality[left] = np.nan, 0, Quality.BAD_STALE
        for index in left:
            self._texts.pop(index, None)
