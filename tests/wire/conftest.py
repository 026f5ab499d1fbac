from __future__ import annotations

import asyncio

import pytest

from tests.fakes.sparkplug.scenarios import perform
from tests.fakes.sparkplug.transcript import Suite


@pytest.fixture(scope="session")
def sparkplug_suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """The transcripts of all Sparkplug scenarios, played once."""
    return asyncio.run(perform(tmp_path_factory.mktemp("sparkplug") / "scenarios"))
