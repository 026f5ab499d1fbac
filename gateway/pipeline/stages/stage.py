"""What the engine asks of a stage, and what stages share: slots of tags, columns as kernels want them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.pipeline.settings import Step
from gateway.readings import NO_TEXTS, Readings, Tag, TagTable

FOREVER: Final = np.iinfo(np.int64).max
NO_ROWS: Final = Readings.empty()
_UINT32, _INT64, _FLOAT64, _UINT8 = (np.dtype(kind) for kind in (np.uint32, np.int64, np.float64, np.uint8))


@dataclass(frozen=True, slots=True)
class Use:
    """One tag's use of a step; `steps` is the whole list it stands in."""

    index: int
    tag: Tag
    step: Step
    settings: Any  # the step's own
    steps: Sequence[Step]


class Stage(ABC):
    """All tags that have one step. Calling it gives the rows after the step, those of other tags untouched."""

    def __init__(self, table: TagTable, uses: Sequence[Use]) -> None:
        self.tags = np.array([use.index for use in uses], np.uint32)  # by slot
        self.slot = np.full(len(table), -1, np.int32)  # by tag
        self.slot[self.tags] = np.arange(len(uses), dtype=np.int32)

    @abstractmethod
    def __call__(self, readings: Readings) -> Readings:
        """The rows after the step, of each tag in the order of arrival; never writes into the columns given."""

    def flush(self, slots: NDArray[np.int64]) -> Readings:
        """What waits in these slots; their runs end, the next row starts new ones."""
        del slots
        return NO_ROWS

    def tick(self, now_ns: int) -> Readings:
        """What is due by the clock alone."""
        del now_ns
        return NO_ROWS

    def deviations(self) -> Mapping[int, float]:
        """By tag, the error bound in use where the stage has one that may change."""
        return {}

    def state(self) -> Sequence[NDArray[Any]]:
        """The arrays that hold state and parameters, seen with the slots as first axis."""
        return ()

    def adopt(self, other: Stage, mine: NDArray[np.int64], theirs: NDArray[np.int64]) -> None:
        """Take over the state of another stage's slots whose step is equal."""
        for own, old in zip(self.state(), other.state(), strict=True):
            if not own.size or not old.size:
                continue  # a part of the family that one of the two doesn't use
            if own.ndim == 1:
                own[mine] = old[theirs]
            else:
                width = min(own.shape[1], old.shape[1])
                own[mine, :width] = old[theirs, :width]


class Columns:
    """Empty columns for a kernel to write rows to."""

    __slots__ = ("quality", "tag", "time_ns", "value")

    def __init__(self, rows: int) -> None:
        self.tag = np.empty(rows, np.uint32)
        self.time_ns = np.empty(rows, np.int64)
        self.value = np.empty(rows, np.float64)
        self.quality = np.empty(rows, np.uint8)

    def readings(self, count: int, texts: Mapping[int, str] = NO_TEXTS) -> Readings:
        """The first `count` rows, in memory of their own."""
        if not count:
            return NO_ROWS
        return Readings(
            self.tag[:count].copy(),
            self.time_ns[:count].copy(),
            self.value[:count].copy(),
            self.quality[:count].copy(),
            texts,
        )


def nanoseconds(seconds: float | None) -> int:
    """A duration of the configuration; None is for ever."""
    return FOREVER if seconds is None else min(round(seconds * 1e9), FOREVER)


def canonical(readings: Readings) -> Readings:
    """The same rows in the kernels' dtypes and layout; ValueError where columns differ in length."""
    tag, time_ns, value, quality = readings.tag, readings.time_ns, readings.value, readings.quality
    if not tag.size == time_ns.size == value.size == quality.size:
        raise ValueError("columns of different length")
    if (
        tag.flags.carray
        and time_ns.flags.carray
        and value.flags.carray
        and quality.flags.carray
        and tag.dtype is _UINT32
        and time_ns.dtype is _INT64
        and value.dtype is _FLOAT64
        and quality.dtype is _UINT8
    ):
        return readings
    return Readings(
        np.array(tag, _UINT32, order="C"),
        np.array(time_ns, _INT64, order="C"),
        np.array(value, _FLOAT64, order="C"),
        np.array(quality, _UINT8, order="C"),
        readings.texts,
    )
