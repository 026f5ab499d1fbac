"""Plan -> stages. The only place that knows which class serves which step."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.pipeline.kernels.route import route
from gateway.pipeline.plan import Plan
from gateway.pipeline.stages.door import Door
from gateway.pipeline.stages.stage import Stage
from gateway.pipeline.stages.thin import Thin
from gateway.readings import TagTable

__all__ = ["build", "route"]
_CLASSES: Final[Mapping[str, type[Stage]]] = MappingProxyType({"thin": Thin, "swinging-door": Door})


def build(table: TagTable, plan: Plan) -> list[Stage]:
    """The stages of a plan, in order, with fresh state."""
    return [_CLASSES[kind](table, uses) for kind, uses in zip(plan.kinds, plan.uses, strict=True)]
