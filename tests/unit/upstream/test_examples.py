"""The brokers' examples: each is valid and says what its header says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gateway.upstream.settings import UpstreamSettings

FOLDER = Path(__file__).parents[3] / "config" / "examples"
FILES = sorted(FOLDER.glob("upstream-*.yaml"))


def loaded(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(file)
    return found


def test_there_is_one_for_each_broker() -> None:
    names = [file.stem.removeprefix("upstream-") for file in FILES]
    assert names == ["aws-iot", "azure-event-grid", "emqx", "hivemq", "mosquitto"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_is_valid_encrypted_and_without_warnings(file: Path) -> None:
    document = loaded(file)
    for upstream in document["upstreams"].values():
        settings = UpstreamSettings(**upstream)
        assert all(endpoint.tls for endpoint in settings.endpoints)
        assert not settings.insecure
        assert [found for found in settings.findings(document["gateway"]["site"]) if found[0] == "warning"] == []
