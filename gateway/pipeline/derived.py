"""Derived tags: values computed from other tags' readings, ahead of the steps.

    derived:
      tags:
        power: {expression: "press.voltage * press.current", unit: W}     # the tag derived.power

A poll or publish that brings any input gives a reading: from the inputs it brought and the newest of the others, at the
newest time it brought, as good as the worst input. What can't be computed (0/0) is bad/decode. Expressions see other
derived tags, but nothing that steps compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from gateway.pipeline.expression import Expression
from gateway.pipeline.grammar import ExpressionError, parse
from gateway.readings import BAD, Quality, Readings, Tag, TagTable
from gateway.runtime.model import Settings
from gateway.runtime.settings import Limits, Name

DEVICE: Final = "derived"  # the device all derived tags belong to
Path = tuple[str | int, ...]


class DerivedRange(Limits):
    """The plausible results, in engineering units; outside it the reading is bad, reason range."""


class DerivedTag(Settings):
    """One expression, and what a tag of a device may have too."""

    expression: str = Field(min_length=1)
    unit: str | None = None  # without it the one that follows from the inputs
    profile: Name | None = None
    steps: list[Any] | None = None
    range: DerivedRange | None = None
    alarm: Any | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_quoted(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("expression"), dict):
            raise ValueError("put the expression in quotes: an unquoted { starts keys and values")
        return value


class DerivedSettings(Settings):
    """The section `derived`."""

    tags: Mapping[Name, DerivedTag] = Field(min_length=1)


def resolve(settings: DerivedSettings, known: Mapping[str, Tag]) -> tuple[dict[str, Tag], list[tuple[Path, str, str]]]:
    """The tags by their name below `tags`, and every fault as (path below `derived`, sentence, hint).

    `known` are the devices' own tags by full name: not those that steps compute.
    """
    names = {f"{DEVICE}.{name}": Tag(DEVICE, name) for name in settings.tags}
    faults: list[tuple[Path, str, str]] = []
    everything = {**known, **names}
    expressions: dict[str, Expression] = {}
    for name, entry in settings.tags.items():
        try:
            expressions[name] = parse(entry.expression, everything)
        except ExpressionError as error:
            faults.append((("tags", name, "expression"), str(error), error.hint))
    tags: dict[str, Tag] = {}
    try:
        order = _order(expressions)
    except CycleError as error:
        circle = " -> ".join(f"{DEVICE}.{name}" for name in reversed(error.args[1]))
        faults.append((("tags", error.args[1][0], "expression"), f"derived tags need each other: {circle}", ""))
        order = list(expressions)
    for name in order:
        entry = settings.tags[name]
        expression = parse(entry.expression, everything)  # again: now the units of its inputs are known
        limits = entry.range or DerivedRange()
        tags[name] = Tag(
            DEVICE,
            name,
            "bool" if expression.truth else "float64",
            expression.unit if entry.unit is None else entry.unit,
            limits.min,
            limits.max,
            address=entry.expression,
        )
        everything[f"{DEVICE}.{name}"] = tags[name]
    return {name: tags[name] for name in settings.tags if name in tags}, faults


def _order(expressions: Mapping[str, Expression]) -> list[str]:
    """Names such that each stands behind those it needs; CycleError where there is no such order."""
    needs = {
        name: [used.removeprefix(f"{DEVICE}.") for used in expression.inputs if used.startswith(f"{DEVICE}.")]
        for name, expression in expressions.items()
    }
    return [name for name in TopologicalSorter(needs).static_order() if name in expressions]


class _Computed:
    """One derived tag at work: its expression and the newest reading of each input."""

    def __init__(self, table: TagTable, tag: int, expression: Expression) -> None:
        self.tag = tag
        self.expression = expression
        self.inputs = np.array([table.index(name) for name in expression.inputs], np.uint32)
        self.position = np.full(len(table), -1, np.int32)
        self.position[self.inputs] = np.arange(self.inputs.size, dtype=np.int32)
        self.latest = np.full(len(expression.inputs), np.nan, np.float64)
        self.latest_quality = np.full(len(expression.inputs), Quality.BAD_STALE, np.uint8)
        low, high = table[tag].low, table[tag].high
        self.low, self.high = -np.inf if low is None else low, np.inf if high is None else high

    def __call__(self, readings: Readings) -> Readings:
        """The tag's readings that a poll causes; none where it brings no input."""
        from gateway.pipeline.kernels.align import align  # noqa: PLC0415  # loads numba: cache first

        brought = np.flatnonzero(self.position[readings.tag] >= 0)
        if not brought.size:
            return Readings.empty()
        order = _in_time(brought, readings)
        values = np.empty((len(self.latest), order.size), np.float64)
        times, qualities = np.empty(order.size, np.int64), np.empty(order.size, np.uint8)
        rows = align(
            readings.tag,
            readings.time_ns,
            readings.value,
            readings.quality,
            order,
            self.position,
            self.latest,
            self.latest_quality,
            values,
            times,
            qualities,
        )
        value, quality = self.expression.evaluate(list(values[:, :rows])), qualities[:rows].copy()
        bad = quality >= BAD
        quality[~bad & ~np.isfinite(value)] = Quality.BAD_DECODE
        outside = ~bad & ((value < self.low) | (value > self.high)) & np.isfinite(value)
        quality[outside] = Quality.BAD_RANGE
        value[(quality >= BAD) & (quality != Quality.BAD_RANGE)] = np.nan
        value[~np.isfinite(value)] = np.nan
        return Readings(np.full(rows, self.tag, np.uint32), times[:rows].copy(), value, quality)


class Derived:
    """Computes the derived tags of a table. Plain calls on one loop."""

    def __init__(self, table: TagTable, settings: DerivedSettings | None) -> None:
        """`table` has the derived tags and all they use; `settings` went through `resolve` without a fault."""
        entries = {} if settings is None else settings.tags
        known = {tag.full_name: tag for tag in table if not tag.retired}
        expressions = {name: parse(entry.expression, known) for name, entry in entries.items()}
        self._computed = [
            _Computed(table, table.index(f"{DEVICE}.{name}"), expressions[name]) for name in _order(expressions)
        ]
        self._is_input = np.zeros(len(table), np.bool_)
        for computed in self._computed:
            self._is_input[computed.inputs] = True

    def process(self, readings: Readings) -> Readings:
        """A poll's rows, and behind them what they give, in order of need."""
        if not self._computed or not self._is_input.take(readings.tag).any():
            return readings  # most polls of most devices
        for computed in self._computed:
            rows = computed(readings)
            if len(rows):
                readings = Readings.join([readings, rows])
        return readings

    def adopt(self, other: Derived) -> None:
        """Take over the newest inputs of tags whose expression is the same (after a reload).

        Not of an input that changed: its values meant something else.
        """
        before = {computed.tag: computed for computed in other._computed}
        for computed in self._computed:
            old = before.get(computed.tag)
            if old is not None and old.expression == computed.expression:
                same = computed.inputs == old.inputs
                computed.latest[same], computed.latest_quality[same] = old.latest[same], old.latest_quality[same]


def _in_time(brought: NDArray[np.intp], readings: Readings) -> NDArray[np.int64]:
    """The rows in order of time; as they came where a tag's own times go back (a clock step)."""
    times = readings.time_ns[brought]
    if not np.any(times[1:] < times[:-1]):
        return brought.astype(np.int64)
    tags = readings.tag[brought]
    by_tag = np.argsort(tags, kind="stable")
    same_tag = tags[by_tag][1:] == tags[by_tag][:-1]
    if np.any(same_tag & (times[by_tag][1:] < times[by_tag][:-1])):
        return brought.astype(np.int64)
    return brought[np.argsort(times, kind="stable")].astype(np.int64)
