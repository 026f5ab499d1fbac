"""The pipeline: a loop over stages, each serving all tags that have its step with one kernel call a poll.

    readings -> spike -> median -> ... -> aggregate -> | deadband, swinging-door -> kept readings
                  stages in front change, add, delay   | lossy ones stand last

Tags whose steps stand in the usual order share stages. A tag with steps but no lossy one gets the rule for bad runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.pipeline.plan import ROUTED, Plan, plan, same_steps
from gateway.pipeline.settings import Step
from gateway.pipeline.stages.stage import NO_ROWS, Stage, canonical
from gateway.readings import Readings, TagTable

Tap = Callable[[Readings], None]


class Pipeline:
    """Readings -> fewer readings. Plain calls on one loop; no row is lost but to a step that states its bound.

    `before` sees the rows on their way into the lossy steps (those of tags without steps too), `after` what leaves
    the pipeline. Neither is called with nothing.
    """

    def __init__(
        self,
        table: TagTable,
        steps: Mapping[int, Sequence[Step]],
        before: Tap | None = None,
        after: Tap | None = None,
    ) -> None:
        from gateway.pipeline.stages.build import build, route  # noqa: PLC0415  # loads numba: cache first

        self._route = route
        self._plan: Plan = plan(table, steps)
        self._stages: list[Stage] = build(table, self._plan)
        self._every = int(np.bitwise_or.reduce(self._plan.masks, initial=0))
        self._table = table
        self._steps = {index: chain for index, chain in steps.items() if chain}
        self._before = before
        self._after = after

    def process(self, readings: Readings) -> Readings:
        """What is kept of a poll or publish, each tag in order of arrival. IndexError: a tag not in the table."""
        return self._leave(self._run(canonical(readings)))

    def tick(self, now_ns: int) -> Readings:
        """What is due by the clock alone: windows that ended without a later reading. To be called each second."""
        return self._cascade(lambda stage: stage.tick(now_ns))

    def flush(self, tags: NDArray[np.uint32] | None = None) -> Readings:
        """Everything that waits for these tags (None: all); their runs end and the next reading passes at once.

        To be called before a stop and before a change of the clock.
        """
        wanted = None if tags is None else np.asarray(tags, np.uint32)
        return self._cascade(lambda stage: stage.flush(_slots(stage, wanted)))

    def adopt(self, before: Pipeline) -> Readings:
        """Go on where the pipeline before a reload stands, whose table has grown; what waited for tags that changed."""
        same = same_steps(before._steps, self._steps)
        same = [index for index in same if self._table[index] == before._table[index]]
        changed = np.setdiff1d(np.arange(len(before._table), dtype=np.uint32), np.array(same, np.uint32))
        rows = before.flush(changed)
        for index_old, index_new, tags in before._plan.shared(self._plan, same):
            old, new = before._stages[index_old], self._stages[index_new]
            new.adopt(old, new.slot[tags].astype(np.int64), old.slot[tags].astype(np.int64))
        return rows

    def deviations(self) -> Mapping[int, float]:
        """By tag, the deviation its swinging door uses now; 0 while `auto` still estimates it."""
        found: dict[int, float] = {}
        for stage in self._stages:
            found.update(stage.deviations())
        return found

    def _run(self, rows: Readings, first: int = 0) -> Readings:
        needed = self._route(rows.tag, self._plan.masks, self._every)
        if needed < 0:
            raise IndexError("a reading's tag is not in the table")
        lossy = self._plan.lossy
        for number in range(first, lossy):
            if needed >> min(number, ROUTED) & 1:
                rows = self._stages[number](rows)
        if self._before is not None and rows.tag.size:
            self._before(rows)
        for number in range(max(first, lossy), len(self._stages)):
            if needed >> min(number, ROUTED) & 1:
                rows = self._stages[number](rows)
        return rows

    def _cascade(self, due: Callable[[Stage], Readings]) -> Readings:
        """What each stage gives up, sent through the stages behind it before those give up theirs."""
        parts: list[Readings] = []
        for number, stage in enumerate(self._stages):
            rows = due(stage)
            if rows.tag.size:
                parts.append(self._run(rows, number + 1) if number < self._plan.lossy else rows)
        return self._leave(Readings.join([part for part in parts if part.tag.size])) if parts else NO_ROWS

    def _leave(self, rows: Readings) -> Readings:
        if self._after is not None and rows.tag.size:
            self._after(rows)
        return rows


def _slots(stage: Stage, tags: NDArray[np.uint32] | None) -> NDArray[np.int64]:
    if tags is None:
        tags = stage.tags
    slots = np.unique(stage.slot[tags]).astype(np.int64)
    return slots[slots >= 0]
