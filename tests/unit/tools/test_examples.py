from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load

FOLDER = Path(__file__).parents[3] / "config"
FILES = sorted(FOLDER.glob("**/*.yaml"))


def test_there_are_examples() -> None:
    assert {file.stem for file in FILES} >= {"gateway", "demo", "welding-cell", "textile-line", "city-sensors"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_shipped_configuration_is_valid(file: Path) -> None:
    assert load(file).tags
