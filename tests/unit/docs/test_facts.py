"""What the documents name exists: tests, log lines, decisions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_SHORTEST = 6  # quoted text below this length says little


def _read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_promise_names_tests_that_exist() -> None:
    sections = _read("guarantees.md").split("\n## ")[1:]
    assert [section[0] for section in sections] == list("1234567")
    for section in sections:
        named = _TEST.findall(section)
        assert len(named) >= 3, section.splitlines()[0]
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"
        for part in ("**Costs**", "**Not promised**"):
            assert part in section, section.splitlines()[0]


def _quoted_messages() -> list[str]:
    """The texts in the first column of the tables of messages, and those quoted in the paragraphs between."""
    found = [
        quoted
        for line in _read("troubleshooting.md").splitlines()
        if line.startswith("| `")
        for quoted in re.findall(r"`([^`]+)`", line.split("|")[1])
    ]
    found += ["refused by the device", "the broker refuses it, its data is kept", "another gateway has our name and"]
    found += ["nobody subscribes, e.g. to", "clock not synchronised"]
    return [text for text in found if " " in text and len(text) >= _SHORTEST]


@pytest.mark.parametrize("text", _quoted_messages())
def test_every_quoted_message_is_one_of_the_programs(text: str) -> None:
    assert any(text in source.read_text(encoding="utf-8") for source in (ROOT / "gateway").rglob("*.py")), text


def test_enough_messages_are_looked_for() -> None:
    assert len(_quoted_messages()) >= 20


def test_decisions_have_unique_numbers_and_stand_in_the_index() -> None:
    notes = sorted(path.name for path in (DOCS / "decisions").glob("[0-9]*.md"))
    numbers = [name[:4] for name in notes]
    assert len(set(numbers)) == len(numbers)
    index = _read("decisions/README.md")
    assert sorted(re.findall(r"\(([0-9]{4}[\w-]*\.md)\)", index)) == notes


def test_the_index_names_every_document() -> None:
    index = _read("README.md")
    there = {path.name for path in DOCS.glob("*.md")} - {"README.md"}
    assert set(re.findall(r"\(([\w-]+\.md)\)", index)) == there


def test_measured_figures_are_those_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    measured = [
        cell
        for line in _read("sizing.md").splitlines()
        if line.startswith("| ") and len(cells := line.split("|")) == 5
        for cell in re.findall(r"\d[\d,.]*", cells[2])
    ][1:]  # the first is the heading's x86
    measured += re.findall(r"(\d+) MB", _read("sizing.md"))[:3]
    derived = {"11"}  # % of a core at 10,000 OPC UA changes a second: 1.1 per 1000
    assert len(measured) >= 9
    assert [figure for figure in measured if figure not in readme and figure not in derived] == []
