from __future__ import annotations

import subprocess
import sys

import pytest

from gateway.compiled import CACHE_SWITCH, kernel

SOURCE = "def double(number):\n    return 2 * number\n"


def double(number: int) -> int:
    return 2 * number


def test_a_kernel_is_compiled_and_does_what_the_function_does() -> None:
    compiled = kernel(double)
    assert compiled(21) == 42
    assert compiled.signatures  # type: ignore[attr-defined]  # numba's, which the type doesn't show


def test_a_function_numba_finds_no_cache_for_is_compiled_without() -> None:
    scope: dict[str, object] = {}
    exec(SOURCE, scope)  # noqa: S102  # a function without a file, as where nothing can be written
    made = scope["double"]
    assert callable(made)
    assert kernel(made)(21) == 42


def test_the_environment_can_forbid_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_SWITCH, "off")
    assert type(kernel(double)._cache).__name__ == "NullCache"  # type: ignore[attr-defined]  # numba's


def test_without_numba_a_kernel_is_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert kernel(double) is double


def test_the_pipeline_works_without_numba() -> None:
    code = """
import sys
sys.modules["numba"] = None
import numpy as np
from gateway.pipeline.cache import prepare_cache
from gateway.pipeline.engine import Pipeline
from gateway.pipeline.settings import STEPS
from gateway.pipeline.warm import warm
from gateway.readings import Readings, Tag, TagTable
print(warm(prepare_cache(environment={"CACHE_DIRECTORY": "/proc/nowhere"})).kernels)
chain = STEPS.validate_python([{"spike": {"window": 3}}, {"swinging-door": {"deviation": 0.5}}])
line = Pipeline(TagTable([Tag("a", "b")]), {0: chain})
rows = Readings(np.zeros(9, np.uint32), np.arange(9) * 10**9, np.arange(9.0), np.zeros(9, np.uint8))
print([*line.process(rows).value, *line.flush().value])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["0", "[np.float64(0.0), np.float64(8.0)]"]
