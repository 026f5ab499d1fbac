"""What a device refuses, learned from its exceptions. Pure.

    block refused --split--> halves asked --refused again--> ... --single span refused--> remembered

A span that is refused alone is left out of the plan and becomes a wall. Where every part of a refused block answers,
the block itself was at fault (a hole, an object's border, a shorter limit): then the cut is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.field.modbus.plan import Block, Span

TEACHING = frozenset({1, 2, 3})  # illegal function, data address, data value: asking again would not help


class Cut(NamedTuple):
    """A block over [start, stop) was refused and cut at `at`."""

    start: int
    stop: int
    at: int


@dataclass(slots=True)
class Learned:
    """One device's refusals by function code. `version` grows with every change."""

    refused: dict[int, set[Span]] = field(default_factory=dict)
    cuts: dict[int, set[Cut]] = field(default_factory=dict)
    version: int = 0

    def split(self, block: Block) -> tuple[Block, Block] | None:
        """Note a refused block; its two halves, or None where its only span is now known as refused."""
        halves = block.halves()
        if halves is None:
            self._refuse(block.function, block.spans[0])
            return None
        self.version += 1
        self.cuts.setdefault(block.function, set()).add(Cut(block.start, block.stop, halves[1].start))
        return halves

    def _refuse(self, function: int, span: Span) -> None:
        refused = self.refused.setdefault(function, set())
        if span in refused:
            return
        refused.add(span)
        self.version += 1
        # The span explains every refusal around it: those cuts would only make the plan worse.
        cuts = self.cuts.get(function, set())
        self.cuts[function] = {cut for cut in cuts if cut.stop <= span.start or cut.start >= span.stop}

    def accepted(self, function: int, span: Span) -> None:
        """A refused span answers now."""
        if span in self.refused.get(function, ()):
            self.refused[function].discard(span)
            self.version += 1

    def walls(self, function: int) -> set[int]:
        """The positions no block may reach across."""
        return {cut.at for cut in self.cuts.get(function, ())}

    def forget_cuts(self) -> None:
        """Try joined blocks again (at a reload)."""
        if any(self.cuts.values()):
            self.cuts.clear()
            self.version += 1

    def singles(self) -> list[Block]:
        """A block for each refused span: to see whether it still is."""
        return [Block.of(function, [span]) for function, spans in self.refused.items() for span in sorted(spans)]

    def to_json(self) -> dict[str, object]:
        """What `from_json` takes."""
        return {
            "refused": {str(function): sorted(spans) for function, spans in self.refused.items() if spans},
            "cuts": {str(function): sorted(cuts) for function, cuts in self.cuts.items() if cuts},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Mapping[str, list[list[int]]]]) -> Learned:
        """What `to_json` gave; KeyError, TypeError, ValueError or AttributeError where it is something else."""
        return cls(
            {
                int(function): {Span(int(start), int(stop)) for start, stop in spans}
                for function, spans in document["refused"].items()
            },
            {
                int(function): {Cut(int(start), int(stop), int(at)) for start, stop, at in cuts}
                for function, cuts in document["cuts"].items()
            },
        )
