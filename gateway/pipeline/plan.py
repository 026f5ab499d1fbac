"""Which stages there are and which tags go through them. Pure.

Stages repeat the usual order of the kinds as often as some tag's list needs it; each step takes the first stage of its
kind behind the step before it. So lists in the usual order share one round, and every list keeps its own order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.pipeline.settings import KINDS, LOSSY, Step
from gateway.pipeline.stages.stage import Use
from gateway.readings import TagTable

ROUTED: Final = 62  # stages beyond share the last bit of the masks
_ORDER: Final = tuple(kind for kind in KINDS if kind not in LOSSY)
_FAMILY: Final = {"deadband": "thin", "on-change": "thin", "swinging-door": "swinging-door"}
_LAST: Final = ("thin", "swinging-door")


@dataclass(frozen=True, slots=True)
class Plan:
    """`kinds` and `uses` by stage; `masks` i8[tags] has a bit per stage a tag needs; lossy stages start at `lossy`."""

    kinds: tuple[str, ...]
    uses: tuple[tuple[Use, ...], ...]
    masks: NDArray[np.int64]
    lossy: int

    def shared(self, other: Plan, tags: Sequence[int]) -> Iterator[tuple[int, int, NDArray[np.uint32]]]:
        """For tags with equal steps in both plans: their stage here, the one there, and the tags."""
        mine, theirs = self._stages_of(tags), other._stages_of(tags)
        pairs: dict[tuple[int, int], list[int]] = {}
        for tag in tags:
            for pair in zip(mine[tag], theirs[tag], strict=True):
                pairs.setdefault(pair, []).append(tag)
        for (here, there), indices in pairs.items():
            yield here, there, np.array(indices, np.uint32)

    def _stages_of(self, tags: Sequence[int]) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {tag: [] for tag in tags}
        for number, uses in enumerate(self.uses):
            for use in uses:
                if use.index in found:
                    found[use.index].append(number)
        return found


def same_steps(before: Mapping[int, Sequence[Step]], after: Mapping[int, Sequence[Step]]) -> list[int]:
    """The tags whose steps are equal; tags of one profile share their list, which is compared once."""
    known: dict[tuple[int, int], bool] = {}
    found: list[int] = []
    for index, old in before.items():
        new = after.get(index, ())
        pair = id(old), id(new)
        if pair not in known:
            known[pair] = list(old) == list(new)
        if known[pair]:
            found.append(index)
    return found


def plan(table: TagTable, steps: Mapping[int, Sequence[Step]]) -> Plan:
    """The stages for these tags."""
    order: list[str] = []
    ways: dict[int, _Way] = {}  # by identity: the tags of a profile share one list, and there may be thousands
    placed: dict[int, list[Use]] = {}
    last: dict[str, list[Use]] = {kind: [] for kind in _LAST}
    children: list[tuple[int, int]] = []
    for index, chain in steps.items():
        if not chain:
            continue
        tag = table[index]
        way = ways.get(id(chain))
        if way is None:
            way = ways[id(chain)] = _way(chain, order)
        for position, step, settings in way.front:
            placed.setdefault(position, []).append(Use(index, tag, step, settings, chain))
            if step.anomaly:
                child = table.index(f"{tag.full_name}.anomaly")
                children.append((index, child))
                last["thin"].append(Use(child, table[child], step, settings, (step,)))
        last[way.family].append(Use(index, tag, way.last, way.last_settings, chain))
    stages = [(order[position], uses) for position, uses in sorted(placed.items())]
    lossy = len(stages)
    stages += [(kind, uses) for kind, uses in last.items() if uses]
    masks = np.zeros(len(table), np.int64)
    for number, (_, uses) in enumerate(stages):
        masks[[use.index for use in uses]] |= 1 << min(number, ROUTED)
    for parent, child in children:
        masks[parent] |= masks[child]  # its rows come into being on the way
    return Plan(tuple(kind for kind, _ in stages), tuple(tuple(uses) for _, uses in stages), masks, lossy)


@dataclass(frozen=True, slots=True)
class _Way:
    """Where a list of steps goes: place, step and settings of those in front, and the one that thins out."""

    front: tuple[tuple[int, Step, Any], ...]
    last: Step
    last_settings: Any
    family: str


def _way(chain: Sequence[Step], order: list[str]) -> _Way:
    """The way of one list; `order` grows by another round of the usual order where the list needs it."""
    front: list[tuple[int, Step, Any]] = []
    position = 0
    for step in chain:
        kind = step.kind
        if kind in LOSSY:
            continue
        while position >= len(order) or order[position] != kind:
            if position >= len(order):
                order += _ORDER
                continue
            position += 1
        front.append((position, step, step.settings))
        position += 1
    last = next((step for step in reversed(chain) if step.kind in LOSSY), None) or _bare(chain)
    return _Way(tuple(front), last, last.settings, _FAMILY.get(last.kind, "thin"))


def _bare(chain: Sequence[Step]) -> Step:
    """The step whose interval a tag without a lossy step repeats bad readings by."""
    return next((step for step in reversed(chain) if step.settings.max_interval is not None), chain[-1])
