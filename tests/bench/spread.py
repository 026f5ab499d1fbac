"""Parameter neighbours of the anomaly step: what a choice is worth is the middle of its neighbourhood, not its peak."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gateway.pipeline.kernels import anomaly

WIDTH = 0.35  # every parameter moves by up to a factor of exp(0.35), about 1.4


def neighbours(count: int, seed: int = 1) -> Iterator[NDArray[np.float64]]:
    """Parameters around those in use, all moved at once; the compression changes no order and stays."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        moved = anomaly.parameters() * np.exp(rng.uniform(-WIDTH, WIDTH, anomaly.PARAMETERS))
        moved[anomaly.DAMPED] = rng.uniform(0.8, 1.0)
        moved[anomaly.COMPRESSION] = anomaly.parameters()[anomaly.COMPRESSION]
        yield moved
