"""The configuration reference says what the schema says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from gateway.config.schema import schema

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The names of docs/make_configuration.py."""
    return runpy.run_path(str(DOCS / "make_configuration.py"))


def test_the_reference_is_up_to_date(script: dict[str, Any]) -> None:
    there = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert script["reference"]() == there, "run: python docs/make_configuration.py"


def test_every_key_of_the_schema_stands_in_it() -> None:
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    document = schema()
    for model in [document, *document["$defs"].values()]:
        for key in model.get("properties", {}):
            assert re.search(rf"^\| (\*\*)?{re.escape(key)}(\*\*)? \|", text, re.MULTILINE), key


def test_every_inner_link_has_its_heading() -> None:
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\(#([^)]*)\)", text)) <= anchors


@pytest.mark.parametrize(
    ("entry", "value", "default"),
    [
        ({"type": "string", "pattern": "(us|ms|s)", "default": "250ms"}, "duration", "`250ms`"),
        ({"type": "string", "pattern": "(us|ms|s)", "default": "30d"}, "duration", "`30d`"),
        ({"type": "string", "pattern": "(B|KiB)", "default": "64KiB"}, "size", "`64KiB`"),
        ({"type": "integer", "minimum": 1, "maximum": 9, "default": 1}, "whole number, 1 to 9", "`1`"),
        ({"type": "boolean", "default": False}, "true, false", "`false`"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}, "text", ""),
        ({"enum": ["a", "b"], "default": "a"}, "`a`, `b`", "`a`"),
    ],
)
def test_values_and_defaults_in_words(script: dict[str, Any], entry: dict[str, Any], value: str, default: str) -> None:
    assert (script["_value"](entry), script["_default"](entry)) == (value, default)
