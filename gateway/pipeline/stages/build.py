"""Plan -> stages. The only place that knows which class serves which step; importing it loads numba."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.pipeline.kernels.route import route
from gateway.pipeline.plan import Plan
from gateway.pipeline.stages.aggregate import Aggregate
from gateway.pipeline.stages.anomaly import Anomaly
from gateway.pipeline.stages.counting import Counter, Rate
from gateway.pipeline.stages.door import Door
from gateway.pipeline.stages.filters import Smooth, Windows
from gateway.pipeline.stages.stage import Stage
from gateway.pipeline.stages.thin import Thin
from gateway.pipeline.stages.vibration import Vibration
from gateway.readings import TagTable

__all__ = ["build", "route"]
_CLASSES: Final[Mapping[str, type[Stage]]] = MappingProxyType(
    {
        "spike": Windows,
        "median": Windows,
        "smooth": Smooth,
        "counter": Counter,
        "rate": Rate,
        "vibration": Vibration,
        "anomaly": Anomaly,
        "aggregate": Aggregate,
        "thin": Thin,
        "swinging-door": Door,
    }
)


def build(table: TagTable, plan: Plan) -> list[Stage]:
    """The stages of a plan, in order, with fresh state."""
    return [_CLASSES[kind](table, uses) for kind, uses in zip(plan.kinds, plan.uses, strict=True)]
