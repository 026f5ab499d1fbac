"""Every way a Modbus device is known to misbehave, over each of the links."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.modbus_rig import LINKS, Rig


@pytest.fixture(params=LINKS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    """One of the links with a counting device at its other end."""
    return Rig(request.param, tmp_path)
